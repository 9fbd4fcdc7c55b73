//! What entries of a cache have to stand: changes, other processes, a folder that has become too large.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

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

/// A cache with room for so many entries of less than a block.
fn small(entries: u64) -> (tempfile::TempDir, Cache) {
    let (dir, mut cache) = cache();
    cache.most_bytes = entries * BLOCK_BYTES;
    (dir, cache)
}

fn numbered(n: usize) -> Key {
    Key::of(&[&n.to_string()])
}

/// Has an entry be used so many seconds ago.
fn used(cache: &Cache, key: &Key, seconds: u64) {
    age(&cache.path(key), seconds);
}

fn age(path: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    let file = File::open(path).expect("it is there");
    let set = file.set_times(FileTimes::new().set_modified(then));
    set.expect("it is ours");
}

#[test]
fn what_was_not_used_for_the_longest_time_goes_first() {
    let (_dir, cache) = small(8);
    for n in 0..8 {
        cache.put(&numbered(n), b"content");
        used(&cache, &numbered(n), 1000 - n as u64);
    }
    // The oldest by its making is the newest by its use.
    assert!(cache.get(&numbered(0)).is_some());
    cache.put(&numbered(8), b"content");
    let left = |n: &usize| cache.path(&numbered(*n)).exists();
    let left: Vec<usize> = (0..9).filter(left).collect();
    assert_eq!(left, [0, 4, 5, 6, 7, 8], "down to three quarters");
}

#[test]
fn the_folder_stays_below_its_bound() {
    let (_dir, cache) = small(16);
    let bytes = || cache.entries().iter().map(|e| e.bytes).sum::<u64>();
    for n in 0..200 {
        cache.put(&numbered(n), &vec![1; n % 3 * BLOCK_BYTES as usize]);
        assert!(bytes() <= cache.most_bytes, "after entry {n}");
        assert!(cache.get(&numbered(n)).is_some(), "the newest stays");
    }
    assert!(bytes() > cache.most_bytes / 2, "no more goes than must");
}

#[test]
fn what_earlier_runs_stored_counts() {
    let (_dir, first) = small(4);
    for n in 0..4 {
        first.put(&numbered(n), b"content");
        used(&first, &numbered(n), 100);
    }
    let mut next = Cache::at(&first.folder).expect("the folder is ours");
    next.most_bytes = first.most_bytes;
    next.put(&numbered(4), b"content");
    assert_eq!(next.entries().len(), 3);
    assert!(next.get(&numbered(4)).is_some());
}

#[test]
fn only_entries_and_what_crashes_left_of_them_are_removed() {
    let (_dir, cache) = small(0);
    let name = numbered(0).name();
    let file = |name: &str, seconds| {
        let path = cache.folder.join(name);
        fs::write(&path, "something").expect("writable");
        age(&path, seconds);
        path
    };
    let kept = [
        file("notes.txt", 1000),
        file(&name[1..], 1000),
        file(&name.to_uppercase(), 1000),
        file(&format!(".{name}.abcdef.tmp"), 0),
        file(".notes.abcdef.tmp", 1000),
    ];
    let left_behind = file(&format!(".{name}.ABCdef.tmp"), 1000);
    let folder = cache.folder.join(numbered(1).name());
    fs::create_dir(&folder).expect("writable");
    cache.put(&numbered(2), b"content");
    assert!(kept.iter().all(|p| p.exists()) && folder.exists());
    assert!(!left_behind.exists());
    assert_eq!(cache.get(&numbered(2)), None, "there is no room for it");
}

#[test]
fn processes_that_make_room_at_the_same_time_leave_whole_entries_and_a_bounded_folder() {
    let (_dir, first) = small(32);
    std::thread::scope(|s| {
        for process in 0..4 {
            let first = &first;
            // Each knows only what it has looked at itself, as a process does.
            let own = Cache {
                folder: first.folder.clone(),
                most_bytes: first.most_bytes,
                bytes: Mutex::new(None),
            };
            s.spawn(move || {
                for n in 0..200 {
                    let (put, other) = (numbered(n * 4 + process), numbered(n * 4));
                    own.put(&put, &vec![n as u8; 5000]);
                    let read = own.get(&other);
                    assert!(
                        read.is_none_or(|r| r.len() == 5000 && r.iter().all(|&b| b == n as u8))
                    );
                }
            });
        }
    });
    first.put(&numbered(1000), b"the next process");
    let bytes: u64 = first.entries().iter().map(|e| e.bytes).sum();
    assert!(bytes <= first.most_bytes);
    assert!(first.get(&numbered(1000)).is_some());
}
