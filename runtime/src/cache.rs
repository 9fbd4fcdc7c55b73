//! What a run has worked out, on the disk, so that the next run of a model does not: compiled kernels of a GPU, the
//! tiles that are fastest on a processor.
//!
//! An entry is named by the hash of everything that it depends on, and starts with the hash of what it holds: one
//! that was cut short or changed is not used and is written anew. The folder is the user's alone. A cache that
//! cannot be used is passed by: nothing here is an error.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::files;

/// Bytes of a hash.
const HASH_BYTES: usize = 32;

/// A folder of entries.
pub struct Cache {
    folder: PathBuf,
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
        })
    }

    /// What was stored under a key, if it is whole.
    pub fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let bytes = fs::read(self.path(key)).ok()?;
        let (hash, content) = bytes.split_at_checked(HASH_BYTES)?;
        (hash == seal(key, content)).then(|| content.to_vec())
    }

    /// Stores an entry, as a whole or not at all: other processes see the old file or the new one.
    pub fn put(&self, key: &Key, content: &[u8]) {
        let stored = files::replace_entry(&self.path(key), &[&seal(key, content), content]);
        // Where nothing can be written, the next run works it out again.
        drop(stored);
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(key.name())
    }
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
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let cache = Cache::at(&dir.path().join("a/lenetc")).expect("the folder is ours");
        (dir, cache)
    }

    #[test]
    fn what_was_stored_is_read_again() {
        let (_dir, cache) = cache();
        let key = Key::of(&["a", "b"]);
        assert_eq!(cache.get(&key), None);
        cache.put(&key, b"content");
        assert_eq!(cache.get(&key).as_deref(), Some(b"content".as_slice()));
        assert_eq!(cache.get(&Key::of(&["ab", ""])), None);
        let files = fs::read_dir(&cache.folder).expect("readable").count();
        assert_eq!(files, 1, "no temporary file is left");
        let mode = cache.path(&key).metadata().expect("stored").permissions();
        assert_eq!(mode.mode() & 0o077, 0);
    }

    #[test]
    fn a_changed_entry_is_not_used_and_is_written_anew() {
        let (_dir, cache) = cache();
        let (key, other) = (Key::of(&["a"]), Key::of(&["b"]));
        cache.put(&key, b"content");
        let whole = fs::read(cache.path(&key)).expect("stored");
        for k in 0..whole.len() {
            let mut changed = whole.clone();
            changed[k] ^= 1;
            fs::write(cache.path(&key), &changed).expect("writable");
            assert_eq!(cache.get(&key), None, "byte {k} changed");
            fs::write(cache.path(&key), &whole[..k]).expect("writable");
            assert_eq!(cache.get(&key), None, "cut at byte {k}");
        }
        fs::write(cache.path(&other), &whole).expect("writable");
        assert_eq!(cache.get(&other), None, "an entry under another's name");
        cache.put(&key, b"content");
        assert!(cache.get(&key).is_some());
    }

    #[test]
    fn a_folder_that_others_can_enter_is_not_used() {
        let (_dir, cache) = cache();
        let set = |mode| fs::set_permissions(&cache.folder, fs::Permissions::from_mode(mode));
        set(0o755).expect("it is ours");
        assert!(Cache::at(&cache.folder).is_none());
        set(0o700).expect("it is ours");
        assert!(Cache::at(&cache.folder).is_some());
        let link = cache.folder.with_file_name("link");
        std::os::unix::fs::symlink(&cache.folder, &link).expect("writable");
        assert!(
            Cache::at(&link).is_none(),
            "a link may be changed to lead elsewhere"
        );
    }

    #[test]
    fn a_cache_that_cannot_be_used_is_passed_by() {
        assert!(Cache::at(Path::new("/dev/null/lenetc")).is_none());
        let (dir, cache) = cache();
        drop(dir);
        cache.put(&Key::of(&["a"]), b"content");
        assert_eq!(cache.get(&Key::of(&["a"])), None);
    }

    #[test]
    fn threads_that_write_one_entry_leave_a_whole_one() {
        let (_dir, cache) = cache();
        let key = Key::of(&["a"]);
        std::thread::scope(|s| {
            for n in 0..8u8 {
                let (cache, key) = (&cache, &key);
                s.spawn(move || {
                    for _ in 0..50 {
                        cache.put(key, &vec![n; 5000]);
                        let read = cache.get(key).expect("always whole");
                        assert!(read.len() == 5000 && read.iter().all(|&b| b == read[0]));
                    }
                });
            }
        });
    }
}
