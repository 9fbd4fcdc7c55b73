//! Files that are open already and named by their descriptors, as `/dev/stdout` is: they are written to where they
//! stand, and nothing of what is in them goes.
//!
//! Opening such a name anew would give a file of its own position: what a shell's `>>` or an earlier command has written
//! would be lost.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::{OFlags, fcntl_getfl};

use super::{Identity, MOST_LINKS, folder, is_link};

/// The name of stdout, also where no folder `/dev` has it.
pub const STDOUT: &str = "/dev/stdout";

/// What a path that leads through `/proc` stands for.
pub(super) enum Opened {
    /// A descriptor of this process, with the position that it shares with others.
    Ours(File),
    /// A file that another process has open.
    Other,
}

/// None where a path does not lead through a link of `/proc`. Fails where a descriptor is open for reading alone.
pub(super) fn opened(path: &Path) -> io::Result<Option<Opened>> {
    if path == Path::new(STDOUT) {
        return writable(io::stdout().as_fd().try_clone_to_owned()?).map(Some);
    }
    let Some(link) = link_of_proc(path)? else {
        return Ok(None);
    };
    match descriptor(&link) {
        Some(descriptor) => writable(duplicate(descriptor)?).map(Some),
        None => Ok(Some(Opened::Other)),
    }
}

/// Whether a path names stdout, whatever that is, or is the file or the pipe that stdout leads to. A device is not
/// enough: a terminal takes several outputs.
pub fn is_stdout(path: &Path) -> bool {
    if path == Path::new(STDOUT) {
        return true;
    }
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    let Ok(stdout) = stdout.and_then(|fd| File::from(fd).metadata()) else {
        return false;
    };
    let link = link_of_proc(path).ok().flatten();
    let named = link.is_some_and(|link| descriptor(&link).is_some());
    let device = std::os::unix::fs::FileTypeExt::is_char_device(&stdout.file_type());
    (named || !device) && Identity::of(path) == Some(Identity::of_metadata(&stdout))
}

/// The link of a chain that is one of `/proc`, its folder without links.
fn link_of_proc(path: &Path) -> io::Result<Option<std::path::PathBuf>> {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        if !is_link(&path) {
            return Ok(None);
        }
        let folder = folder(&path).canonicalize()?;
        if folder.starts_with("/proc") {
            return Ok(path.file_name().map(|name| folder.join(name)));
        }
        path = folder.join(std::fs::read_link(&path)?);
    }
    Ok(None)
}

/// The number of a link, where it is one of this process's descriptors.
fn descriptor(link: &Path) -> Option<RawFd> {
    let folders = ["/proc/self/fd", "/proc/thread-self/fd"];
    let ours = folders
        .iter()
        .filter_map(|f| Path::new(f).canonicalize().ok());
    let here = ours.into_iter().any(|f| Some(&*f) == link.parent());
    let number = link.file_name().and_then(|n| n.to_str())?.parse();
    number.ok().filter(|&n: &RawFd| here && n >= 0)
}

fn duplicate(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: it is borrowed for one call of the system, which refuses what is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    borrowed.try_clone_to_owned()
}

fn writable(fd: OwnedFd) -> io::Result<Opened> {
    let flags = fcntl_getfl(&fd)?;
    match flags.intersects(OFlags::WRONLY | OFlags::RDWR) {
        true => Ok(Opened::Ours(File::from(fd))),
        false => Err(io::Error::other("it is open for reading alone")),
    }
}
