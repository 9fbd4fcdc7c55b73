use std::io::Read;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::SystemTime;

use super::*;

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<_> = entries
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it exists").mode() & 0o7777
}

fn write(path: &Path, bytes: &[u8]) {
    check(path).expect("it can be written");
    replace(path, bytes).expect("it is written");
}

/// Both the question before and the write itself refuse, and leave everything as it is.
fn refused(path: &Path, why: &str) {
    let e = check(path).expect_err("it cannot be written").to_string();
    let shown = path.display().to_string();
    assert_eq!(e, format!("cannot write {shown}: {why}"));
    assert_eq!(e.matches(&shown).count(), 1, "{e}");
    let again = replace(path, b"new").expect_err("it cannot be written");
    assert_eq!(again.to_string(), e);
}

#[test]
fn a_new_file_has_the_mode_that_the_umask_leaves() {
    let dir = dir();
    let (ours, plain) = (dir.path().join("w.st"), dir.path().join("plain"));
    write(&ours, b"one");
    File::create(&plain).expect("writable");
    assert_eq!(mode(&ours), mode(&plain));
    assert_eq!(names(dir.path()), ["plain", "w.st"], "no temporary is left");
}

#[test]
fn an_old_file_keeps_its_mode_and_its_owner() {
    let dir = dir();
    let path = dir.path().join("w.st");
    fs::write(&path, "old").expect("writable");
    let root = rustix::process::geteuid().is_root();
    if root {
        std::os::unix::fs::chown(&path, Some(12), Some(34)).expect("we are root");
    }
    for bits in [0o600, 0o644, 0o664, 0o755, 0o640] {
        fs::set_permissions(&path, Permissions::from_mode(bits)).expect("ours");
        let before = fs::metadata(&path).expect("there");
        write(&path, &bits.to_le_bytes());
        let after = fs::metadata(&path).expect("there");
        assert_eq!(mode(&path), bits);
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
        assert_ne!(after.ino(), before.ino(), "it is replaced as a whole");
        assert_eq!(fs::read(&path).expect("there"), bits.to_le_bytes());
    }
    assert_eq!(names(dir.path()), ["w.st"]);
}

#[test]
fn links_stay_and_what_they_lead_to_is_replaced() {
    let dir = dir();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("deep")).expect("writable");
    fs::write(at("deep/w.st"), "old").expect("writable");
    symlink("deep/w.st", at("one")).expect("writable");
    symlink(at("one"), at("two")).expect("writable");
    symlink("deep/new.st", at("dangling")).expect("writable");
    symlink("deep", at("folder")).expect("writable");
    write(&at("two"), b"through two");
    assert_eq!(fs::read(at("deep/w.st")).expect("there"), b"through two");
    write(&at("dangling"), b"new");
    assert_eq!(fs::read(at("deep/new.st")).expect("there"), b"new");
    write(&at("folder/w.st"), b"through a folder");
    assert_eq!(fs::read(at("one")).expect("there"), b"through a folder");
    for link in ["one", "two", "dangling", "folder"] {
        assert!(is_link(&at(link)), "{link}");
    }
    assert_eq!(names(&at("deep")), ["new.st", "w.st"]);
    symlink("circle", at("circle")).expect("writable");
    assert!(check(&at("circle")).is_err() && replace(&at("circle"), b"x").is_err());
}

#[test]
fn what_cannot_be_a_file_is_refused() {
    let dir = dir();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("folder")).expect("writable");
    fs::write(at("file"), "old").expect("writable");
    symlink("folder", at("link")).expect("writable");
    symlink("missing/w.st", at("dangling")).expect("writable");
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("bound");
    refused(&at("folder"), "it is a folder");
    refused(&at("link"), "it is a folder");
    refused(&dir.path().join("folder/"), "it is a folder");
    refused(&dir.path().join("new/"), "it names no file");
    refused(&at("socket"), "it is a socket");
    let missing = format!("there is no folder {}", at("missing").display());
    refused(&at("missing/w.st"), &missing);
    refused(&at("dangling"), &missing);
    let file = format!("{} is not a folder", at("file").display());
    refused(&at("file/w.st"), &file);
    let empty = check(Path::new("")).expect_err("it names nothing");
    assert_eq!(empty.reason, "it names no file");
    assert_eq!(fs::read(at("file")).expect("there"), b"old");
    assert!(
        check(Path::new("/proc/w.st")).is_err(),
        "nobody may write there"
    );
    let long = at(&"x".repeat(300));
    assert!(check(&long).is_err(), "longer than any name");
    write(&at(&"x".repeat(255)), b"as long as a name can be");
}

/// The bits of permission bind everybody but root; for root the system's answer stands in their place.
#[test]
fn protection_from_writing_is_respected() {
    let dir = dir();
    let path = dir.path().join("w.st");
    fs::write(&path, "old").expect("writable");
    fs::set_permissions(&path, Permissions::from_mode(0o444)).expect("ours");
    if !rustix::process::geteuid().is_root() {
        refused(&path, "permission denied");
        let closed = dir.path().join("closed");
        fs::create_dir(&closed).expect("writable");
        fs::set_permissions(&closed, Permissions::from_mode(0o555)).expect("ours");
        refused(&closed.join("w.st"), "permission denied");
    }
    for (number, text) in [
        (1, "permission denied"),
        (2, "there is no such file"),
        (13, "permission denied"),
        (21, "it is a folder"),
        (28, "the disk is full"),
        (30, "its file system is read-only"),
        (32, "its reader has gone away"),
        (122, "the disk quota is used up"),
        (5, "Input/output error"),
    ] {
        let e = about(&path, || -> io::Result<()> {
            Err(io::Error::from_raw_os_error(number))
        });
        let shown = e.expect_err("it is one").to_string();
        assert_eq!(shown, format!("cannot write {}: {text}", path.display()));
    }
}

#[test]
fn a_fifo_is_written_to_and_not_replaced() {
    let dir = dir();
    let (fifo, link) = (dir.path().join("fifo"), dir.path().join("link"));
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo runs").success());
    symlink("fifo", &link).expect("writable");
    for path in [&fifo, &link] {
        check(path).expect("it can be written, whether it is read yet or not");
        let reader = {
            let fifo = fifo.clone();
            std::thread::spawn(move || fs::read(fifo).expect("readable"))
        };
        replace(path, b"weights").expect("it is written");
        assert_eq!(reader.join().expect("it ends"), b"weights");
        let kind = fs::symlink_metadata(&fifo).expect("there").file_type();
        assert!(kind.is_fifo() && is_link(&link));
    }
    assert_eq!(names(dir.path()), ["fifo", "link"]);
}

/// The device is a terminal of our own, in a file system where nothing can be replaced.
#[test]
fn a_character_device_is_written_to() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("ours");
    let name = ptsname(&ours, Vec::new()).expect("it has a name");
    let device = PathBuf::from(name.to_str().expect("text"));
    let dir = dir();
    let link = dir.path().join("link");
    symlink(&device, &link).expect("writable");
    // While it is open once, what is written to it is not lost when the writer closes it.
    let _open = OpenOptions::new().read(true).open(&device).expect("ours");
    for path in [&device, &link] {
        check(path).expect("it can be written");
        replace(path, b"weights").expect("it is written");
        let mut read = [0; 7];
        let mut master = File::from(ours.try_clone().expect("ours"));
        master.read_exact(&mut read).expect("readable");
        assert_eq!(&read, b"weights");
    }
    assert!(is_link(&link));
    assert_eq!(names(dir.path()), ["link"]);
}

#[test]
fn an_open_file_that_proc_names_is_written_to() {
    let dir = dir();
    let path = dir.path().join("w.st");
    let mut open = File::create_new(&path).expect("writable");
    let named = PathBuf::from(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&open)
    ));
    write(&named, b"weights");
    let there = Identity::of(&path).expect("it exists");
    let ours = Identity::of_metadata(&open.metadata().expect("open"));
    assert_eq!(there, ours, "the file is still the one that is open");
    assert_eq!(Identity::of(&named), Some(ours));
    io::Write::write_all(&mut open, b"").expect("open");
    assert_eq!(fs::read(&path).expect("there"), b"weights");
}

#[test]
fn what_is_open_keeps_what_it_holds() {
    let dir = dir();
    let path = dir.path().join("log");
    let mut ours = File::create_new(&path).expect("writable");
    let named = |fd: &File| {
        let fd = std::os::fd::AsRawFd::as_raw_fd(fd);
        ["/proc/self/fd", "/dev/fd"].map(|folder| PathBuf::from(format!("{folder}/{fd}")))
    };
    ours.write_all(b"header\n").expect("open");
    for name in named(&ours) {
        write(&name, b"weights\n");
        let mut lines = open(&name).expect("it is open");
        lines.write_all(b"line\n").expect("open");
        ours.write_all(b"footer\n").expect("open");
    }
    let whole = format!("header\n{0}{0}", "weights\nline\nfooter\n");
    assert_eq!(fs::read_to_string(&path).expect("there"), whole);
    // A file that another process has open is written to at its end.
    let stdin = File::open(&path).expect("there");
    let sleep = Command::new("sleep").arg("60").stdin(stdin).spawn();
    let mut sleep = sleep.expect("sleep runs");
    let theirs = PathBuf::from(format!("/proc/{}/fd/0", sleep.id()));
    write(&theirs, b"end\n");
    open(&theirs).expect("writable");
    sleep.kill().and_then(|()| sleep.wait()).expect("ours");
    assert_eq!(fs::read_to_string(&path).expect("there"), whole + "end\n");

    let reading = File::open(&path).expect("there");
    for name in named(&reading) {
        let e = check(&name).expect_err("it is read alone");
        assert_eq!(e.reason, "it is open for reading alone");
        assert!(open(&name).is_err() && replace(&name, b"x").is_err());
    }
}

#[test]
fn stdout_is_known_by_its_names() {
    let dir = dir();
    let path = dir.path().join("file");
    fs::write(&path, "").expect("writable");
    for name in [STDOUT, "/dev/fd/1", "/proc/self/fd/1"] {
        assert!(is_stdout(Path::new(name)), "{name}");
        assert_eq!(
            Identity::of(Path::new(name)),
            Identity::of(Path::new(STDOUT))
        );
    }
    assert!(!is_stdout(&path) && !is_stdout(&dir.path().join("new")));
}

#[test]
fn one_file_is_known_by_any_of_its_paths() {
    let dir = dir();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("a"), "").expect("writable");
    fs::create_dir(at("sub")).expect("writable");
    fs::hard_link(at("a"), at("hard")).expect("writable");
    symlink("a", at("soft")).expect("writable");
    symlink("new", at("dangling")).expect("writable");
    let id = |name: &str| Identity::of(&at(name)).expect("it leads somewhere");
    for name in ["hard", "soft", "sub/../a", "./a"] {
        assert_eq!(id(name), id("a"), "{name}");
    }
    assert_eq!(id("new"), id("dangling"));
    assert_eq!(id("new"), id("sub/../new"));
    assert_ne!(id("new"), id("a"));
    assert_ne!(id("new"), id("newer"));
    assert_eq!(Identity::of(&at("missing/w.st")), None);
}

#[test]
fn what_a_crash_left_is_swept_and_what_is_being_written_is_not() {
    let dir = dir();
    let path = dir.path().join("w.st");
    let long_ago = SystemTime::now() - 2 * STALE_AGE;
    let make = |name: &str| {
        let file = File::create(dir.path().join(name)).expect("writable");
        file.set_modified(long_ago).expect("ours");
        file
    };
    drop(make(".w.st.abcdef.tmp"));
    let busy = make(".w.st.ghijkl.tmp");
    busy.lock().expect("free");
    drop(make(".other.abcdef.tmp"));
    drop(make(".w.st.longer-than-ours.tmp"));
    File::create(dir.path().join(".w.st.mnopqr.tmp")).expect("writable");
    write(&path, b"new");
    let left = [
        ".other.abcdef.tmp",
        ".w.st.ghijkl.tmp",
        ".w.st.longer-than-ours.tmp",
        ".w.st.mnopqr.tmp",
        "w.st",
    ];
    assert_eq!(names(dir.path()), left);
}

#[test]
fn a_stream_is_opened_empty_and_read_in_the_meantime() {
    let dir = dir();
    let path = dir.path().join("m.jsonl");
    fs::write(&path, "old").expect("writable");
    let mut file = open(&path).expect("writable");
    assert_eq!(fs::read(&path).expect("there"), b"");
    file.write_all(b"line\n").expect("open");
    assert_eq!(fs::read(&path).expect("there"), b"line\n");
    let e = open(dir.path()).expect_err("it is a folder").to_string();
    assert!(e.ends_with(": it is a folder"), "{e}");
}
