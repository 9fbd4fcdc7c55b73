//! What a run has worked out, on the disk, so that the next run of a model does not: compiled kernels of a GPU, the
//! tiles that are fastest on a processor.
//!
//! An entry is named by the hash of everything that it depends on, and starts with the hash of what it holds: one
//! that was cut short or changed is not used and is written anew. The folder is the user's alone. A cache that
//! cannot be used is passed by: nothing here is an error.
//!
//! The folder stays below a bound: what was not read for the longest time goes first, its time being the file's time of
//! change, which reading sets. Processes need no lock among them for that. An entry that goes while another process
//! reads it is read to its end, one that is gone before is worked out again, and two that make room at a time agree on
//! what is oldest.

use std::fs::{self, DirEntry, File, FileTimes};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::files;

/// Bytes of a hash.
const HASH_BYTES: usize = 32;
/// What all entries together may take: some thousand models.
const MOST_BYTES: u64 = 512 << 20;
/// A file takes a multiple of this of most disks.
const BLOCK_BYTES: u64 = 4096;

/// A folder of entries.
pub struct Cache {
    folder: PathBuf,
    most_bytes: u64,
    /// Bytes of the folder as far as this process knows; none before it has looked.
    bytes: Mutex<Option<u64>>,
}

/// An entry's file.
struct Stored {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// The name of an entry.
pub struct Key([u8; HASH_BYTES]);

impl Key {
    /// The hash of parts, each with its length, so that no two lists run together to the same text.
    pub fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    fn name(&self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }
}

impl Cache {
    /// The user's: `XDG_CACHE_HOME/lenetc` or `~/.cache/lenetc`. The XDG specification has relative paths ignored.
    pub fn of_user() -> Option<Self> {
        let base = variable("XDG_CACHE_HOME").filter(|p| p.is_absolute());
        let base = base.or_else(|| variable("HOME").map(|h| h.join(".cache")))?;
        Self::at(&base.join("lenetc"))
    }

    /// A folder that is ours and closed to others; made where it is missing.
    pub fn at(folder: &Path) -> Option<Self> {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder);
        let usable = made.is_ok() && is_private_to_us(folder, 0o077);
        usable.then(|| Self {
            folder: folder.into(),
            most_bytes: MOST_BYTES,
            bytes: Mutex::new(None),
        })
    }

    /// What was stored under a key, if it is whole. It counts as used now.
    pub fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let mut file = File::open(self.path(key)).ok()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        let (hash, content) = bytes.split_at_checked(HASH_BYTES)?;
        if hash != seal(key, content) {
            return None;
        }
        // Where that cannot be written, the entry goes earlier than it might.
        let _ = file.set_times(FileTimes::new().set_modified(SystemTime::now()));
        Some(content.to_vec())
    }

    /// Stores an entry, as a whole or not at all: other processes see the old file or the new one. Makes room where the
    /// folder has grown beyond its bound.
    pub fn put(&self, key: &Key, content: &[u8]) {
        let stored = files::replace_entry(&self.path(key), &[&seal(key, content), content]);
        // Where nothing can be written, the next run works it out again.
        if stored.is_ok() {
            self.grown(on_disk((HASH_BYTES + content.len()) as u64));
        }
    }

    /// Counts an entry. The folder is looked through at this process's first one, and again where it has become too
    /// large.
    fn grown(&self, bytes: u64) {
        let mut known = self.bytes.lock().unwrap_or_else(|e| e.into_inner());
        *known = match known.map(|k| k + bytes) {
            Some(all) if all <= self.most_bytes => Some(all),
            _ => Some(self.make_room()),
        };
    }

    /// Removes what was not used for the longest time, where there is too much: down to three quarters, so that the next
    /// entries need not look again. What is left, in bytes.
    fn make_room(&self) -> u64 {
        let mut all = self.entries();
        let mut left = all.iter().map(|e| e.bytes).sum();
        if left <= self.most_bytes {
            return left;
        }
        all.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
        for entry in all {
            if left <= self.most_bytes / 4 * 3 {
                break;
            }
            // Another process may have removed it.
            let _ = fs::remove_file(&entry.path);
            left -= entry.bytes;
        }
        left
    }

    /// The entries. Files that are being written, or were when a process crashed, are not among them: those that nobody
    /// writes any more are removed.
    fn entries(&self) -> Vec<Stored> {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        files.filter_map(|file| self.entry(&file)).collect()
    }

    fn entry(&self, file: &DirEntry) -> Option<Stored> {
        let (name, path) = (file.file_name(), file.path());
        let name = name.to_str()?;
        if !is_key(name) {
            if files::temporary_of(name).is_some_and(is_key) {
                files::remove_stale(&path);
            }
            return None;
        }
        let about = fs::symlink_metadata(&path).ok().filter(|m| m.is_file())?;
        Some(Stored {
            path,
            bytes: on_disk(about.len()),
            used: about.modified().ok()?,
        })
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(key.name())
    }
}

/// Whether a file's name is that of an entry: nothing else in the folder is ours.
fn is_key(name: &str) -> bool {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    name.len() == 2 * HASH_BYTES && name.bytes().all(digit)
}

/// What a file of so many bytes takes.
fn on_disk(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES)
}

/// The hash of an entry with its key, so that an entry under another's name does not count.
fn seal(key: &Key, content: &[u8]) -> [u8; HASH_BYTES] {
    Sha256::new()
        .chain_update(key.0)
        .chain_update(content)
        .finalize()
        .into()
}

/// An environment variable as a path, unless it is empty.
pub(crate) fn variable(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name).filter(|v| !v.is_empty());
    value.map(PathBuf::from)
}

/// Whether `path` is a folder, no link, of this user and without the permissions `forbidden`.
pub(crate) fn is_private_to_us(path: &Path, forbidden: u32) -> bool {
    let user = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(path)
        .is_ok_and(|m| m.is_dir() && m.uid() == user && m.mode() & forbidden == 0)
}

#[cfg(test)]
mod tests;
