//! Files that are written as a whole, so that a crash at any moment leaves the old content or the new one.
//!
//! A regular file is replaced: the new content goes to a temporary file beside it, from there to the disk, and is renamed
//! over the old one; then the folder is brought to the disk too. The user's arrangements stay: links are followed, also
//! one that leads to nothing yet, and the new file has the mode of the old and, where we may give it away, its owner.
//! A file without a past gets the mode that the umask leaves. ACLs, extended attributes and other hard links do not
//! follow. What cannot be renamed over without being lost, a FIFO, a character device or an open file that is named
//! through `/proc`, as `/dev/stdout` is, is written to where it stands, and keeps what it holds. Folders, sockets, block devices and files that
//! are protected from writing are refused.
//!
//! A temporary file is locked while it is written; one without a lock was left behind by a crash, and the next write
//! of the same file removes it.
//!
//! Does not know what is written, or what else is read and written at the time: [`Identity`] tells whether two paths
//! are one file.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};
use tempfile::NamedTempFile;
use thiserror::Error;

mod opened;
#[cfg(test)]
mod tests;

use opened::{Opened, opened};
pub use opened::{STDOUT, is_stdout};

/// Links that are followed before a path counts as one that leads in a circle; the kernel's own limit.
const MOST_LINKS: usize = 40;
/// What a temporary file's name ends in, and the random letters before that.
const SUFFIX: &str = ".tmp";
const RANDOM_LETTERS: usize = 6;
/// Bytes of the target's name that a temporary's begins with: a name has 255 at most.
const MOST_NAME_BYTES: usize = 200;
/// A temporary file younger than this may be one that is about to be locked.
const STALE_AGE: Duration = Duration::from_secs(60);

/// Why a file cannot be written: a sentence that names it once.
#[derive(Debug, Error)]
#[error("cannot write {}: {reason}", path.display())]
pub struct WriteError {
    /// As the user gave it.
    pub path: PathBuf,
    pub reason: String,
}

/// Where a path leads.
enum Destination {
    /// A regular file to be replaced, or one that does not exist yet.
    Replaced {
        path: PathBuf,
        old: Option<Metadata>,
    },
    /// Something that is written to where it stands, at its end.
    InPlace(PathBuf),
    /// What is open already.
    Open(File),
}

/// Whether a file can be written, asked before the work whose result goes there. Leaves no trace.
pub fn check(path: &Path) -> Result<(), WriteError> {
    about(path, || match destination(path)? {
        // Opening a FIFO would wait for its reader, or be taken by it for the end.
        Destination::InPlace(path) => Ok(access(&path, Access::WRITE_OK)?),
        Destination::Open(_) => Ok(()),
        Destination::Replaced { path, old } => {
            if let Some(old) = &old {
                OpenOptions::new().write(true).open(&path)?;
                held_by_sticky_folder(&path, old)?;
            }
            staged(&path, old.as_ref()).map(drop)
        }
    })
}

/// Writes a file as a whole.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    about(path, || match destination(path)? {
        Destination::InPlace(path) => append(OpenOptions::new().append(true).open(path)?, bytes),
        Destination::Open(file) => append(file, bytes),
        Destination::Replaced { path, old } => {
            if old.is_some() {
                // Renaming would pass by the protection of a file that may not be written.
                OpenOptions::new().write(true).open(&path)?;
            }
            sweep(&path);
            let mut file = staged(&path, old.as_ref())?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            sync_folder(folder(&path))
        }
    })
}

fn append(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    match file.metadata()?.is_file() {
        true => file.sync_all(),
        false => Ok(()),
    }
}

/// Opens a file that is written bit by bit and read in the meantime; what a regular file holds goes, unless it is one
/// that is open already. Waits for the reader of a FIFO.
pub fn open(path: &Path) -> Result<File, WriteError> {
    about(path, || match destination(path)? {
        Destination::Replaced { path, .. } => File::create(path),
        Destination::InPlace(path) => OpenOptions::new().append(true).open(path),
        Destination::Open(file) => Ok(file),
    })
}

/// Replaces an entry of a folder that is ours alone, whose owner removes what crashed writers have left there: other
/// processes see the old content or the new. After a crash of
/// the machine it may be cut short: the reader must notice that. Follows no link.
pub fn replace_entry(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = temporary(path, 0o600)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.persist(path)?;
    Ok(())
}

/// A reason for people, without the system's number and what stands behind it.
pub fn reason(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::ReadOnlyFilesystem => "its file system is read-only".into(),
        io::ErrorKind::StorageFull => "the disk is full".into(),
        io::ErrorKind::QuotaExceeded => "the disk quota is used up".into(),
        io::ErrorKind::BrokenPipe => "its reader has gone away".into(),
        io::ErrorKind::IsADirectory => "it is a folder".into(),
        _ => {
            let text = e.to_string();
            let cut = text.find(" (os error ").unwrap_or(text.len());
            text[..cut].into()
        }
    }
}

/// What tells a file from all others, whatever path it is named by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The device and the inode of what exists.
    Inode { device: u64, inode: u64 },
    /// The folder of what does not exist yet, without links, and its name.
    New(PathBuf),
}

impl Identity {
    /// Of what a path leads to; none where it leads nowhere.
    pub fn of(path: &Path) -> Option<Self> {
        if path == Path::new(STDOUT) {
            let stdout = io::stdout().as_fd().try_clone_to_owned().ok()?;
            return File::from(stdout)
                .metadata()
                .ok()
                .map(|m| Self::of_metadata(&m));
        }
        if let Ok(m) = fs::metadata(path) {
            return Some(Self::of_metadata(&m));
        }
        let path = followed(path).ok()?;
        let folder = folder(&path).canonicalize().ok()?;
        Some(Self::New(folder.join(path.file_name()?)))
    }

    /// Of an open file.
    pub fn of_metadata(m: &Metadata) -> Self {
        Self::Inode {
            device: m.dev(),
            inode: m.ino(),
        }
    }
}

fn about<T>(path: &Path, work: impl FnOnce() -> io::Result<T>) -> Result<T, WriteError> {
    work().map_err(|e| WriteError {
        path: path.into(),
        reason: reason(&e),
    })
}

fn destination(path: &Path) -> io::Result<Destination> {
    if path.as_os_str().as_bytes().ends_with(b"/") || path.file_name().is_none() {
        let folder = fs::metadata(path).is_ok_and(|m| m.is_dir());
        let reason = ["it names no file", "it is a folder"][usize::from(folder)];
        return Err(io::Error::other(reason));
    }
    match opened(path)? {
        Some(Opened::Ours(file)) => return Ok(Destination::Open(file)),
        Some(Opened::Other) if fs::metadata(path)?.is_file() => {
            return Ok(Destination::InPlace(path.into()));
        }
        _ => {}
    }
    let old = match fs::metadata(path) {
        Ok(m) => Some(m),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => None,
        Err(e) => return Err(e),
    };
    if let Some(m) = &old {
        let kind = m.file_type();
        if kind.is_fifo() || kind.is_char_device() {
            return Ok(Destination::InPlace(path.into()));
        }
        if !kind.is_file() {
            let socket = kind.is_socket().then_some("a socket");
            let block = kind.is_block_device().then_some("a block device");
            let what = socket.or(block).unwrap_or("a folder");
            return Err(io::Error::other(format!("it is {what}")));
        }
    }
    let path = followed(path)?;
    let folder = folder(&path);
    match fs::metadata(folder).map(|m| m.is_dir()) {
        Ok(true) => Ok(Destination::Replaced { path, old }),
        Ok(false) => Err(io::Error::other(format!(
            "{} is not a folder",
            folder.display()
        ))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(io::Error::other(format!(
            "there is no folder {}",
            folder.display()
        ))),
        Err(e) => Err(e),
    }
}

/// The last of a chain of links: what it leads to is no link, and need not exist.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        if !is_link(&path) {
            return Ok(path);
        }
        path = folder(&path).join(fs::read_link(&path)?);
    }
    Err(io::Error::other("its links lead in a circle"))
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink())
}

/// The folder that a path's last name stands in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

/// Refuses what the kernel would when it comes to the renaming: another user's file in a folder as `/tmp` is.
fn held_by_sticky_folder(path: &Path, old: &Metadata) -> io::Result<()> {
    let folder = fs::metadata(folder(path))?;
    let us = rustix::process::geteuid().as_raw();
    let sticky = folder.mode() & 0o1000 != 0;
    match sticky && us != 0 && us != folder.uid() && us != old.uid() {
        true => Err(io::ErrorKind::PermissionDenied.into()),
        false => Ok(()),
    }
}

/// An empty temporary file that is ready to take the place of `path`, with the mode and the owner of the old file.
fn staged(path: &Path, old: Option<&Metadata>) -> io::Result<NamedTempFile> {
    let Some(old) = old else {
        return temporary(path, 0o666);
    };
    let file = temporary(path, 0o600)?;
    let new = file.as_file().metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        let chown = |user| std::os::unix::fs::fchown(file.as_file(), user, Some(old.gid()));
        // Only root may give a file away, and others may choose among their groups: what cannot be kept is ours.
        let _ = chown(Some(old.uid())).or_else(|_| chown(None));
    }
    let mode = Permissions::from_mode(old.mode() & 0o7777);
    file.as_file().set_permissions(mode)?;
    Ok(file)
}

/// A locked temporary file beside `path`; the umask applies to its mode. Dropping it removes it.
fn temporary(path: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let file = tempfile::Builder::new()
        .prefix(&prefix(path))
        .suffix(SUFFIX)
        .rand_bytes(RANDOM_LETTERS)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder(path))?;
    // Where a file system has no locks, nothing is swept.
    let _ = file.as_file().lock();
    Ok(file)
}

/// What the names of the temporary files of a path begin with.
fn prefix(path: &Path) -> std::ffi::OsString {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let name = &name[..name.len().min(MOST_NAME_BYTES)];
    std::ffi::OsStr::from_bytes(&[b".", name, b"."].concat()).into()
}

/// Removes temporary files of this path that nobody writes any more.
fn sweep(path: &Path) {
    let prefix = prefix(path);
    let len = prefix.len() + RANDOM_LETTERS + SUFFIX.len();
    let Ok(entries) = fs::read_dir(folder(path)) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let bytes = name.as_bytes();
        let ours = bytes.len() == len
            && bytes.starts_with(prefix.as_bytes())
            && bytes.ends_with(SUFFIX.as_bytes());
        if ours {
            remove_stale(&entry.path());
        }
    }
}

/// The name of the file that a temporary file of this name was written for; none where it is no temporary file, or
/// that name is too long to be kept whole.
pub(crate) fn temporary_of(name: &str) -> Option<&str> {
    let name = name.strip_prefix('.')?.strip_suffix(SUFFIX)?;
    let (name, letters) = name.rsplit_once('.')?;
    (letters.len() == RANDOM_LETTERS && name.len() < MOST_NAME_BYTES).then_some(name)
}

/// Removes a temporary file that nobody writes any more.
pub(crate) fn remove_stale(temporary: &Path) {
    if is_stale(temporary) {
        // What cannot be removed does no harm.
        let _ = fs::remove_file(temporary);
    }
}

fn is_stale(temporary: &Path) -> bool {
    let old = |m: &Metadata| {
        let age = m.modified().ok().and_then(|t| t.elapsed().ok());
        m.is_file() && age.is_some_and(|a| a > STALE_AGE)
    };
    fs::symlink_metadata(temporary).is_ok_and(|m| old(&m))
        && File::open(temporary).is_ok_and(|f| f.try_lock().is_ok())
}

/// The new name itself survives a crash once the folder is on the disk. Some folders cannot be opened or synced; the
/// file is written all the same.
fn sync_folder(folder: &Path) -> io::Result<()> {
    let synced = File::open(folder).and_then(|f| f.sync_all());
    match synced.as_ref().map_err(io::Error::kind) {
        Err(io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput) => Ok(()),
        _ => synced,
    }
}
