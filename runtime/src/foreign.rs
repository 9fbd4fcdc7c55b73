//! Files that are something else than their name says, known by their first bytes.

/// What a file that starts with `start` is, as "is …" goes on; `None` where the bytes say nothing.
pub(crate) fn describe(start: &[u8]) -> Option<&'static str> {
    const STARTS: [(&[u8], &str); 12] = [
        (
            b"\x93NUMPY",
            "a single NumPy array (.npy), not an archive of arrays",
        ),
        (
            b"PK\x03\x04",
            "a zip file, as .npz files and torch.save's are",
        ),
        (b"PK\x05\x06", "a zip file without entries"),
        (b"\x1f\x8b", "compressed with gzip"),
        (b"BZh", "compressed with bzip2"),
        (b"\xfd7zXZ\0", "compressed with xz"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"MATLAB ", "a MATLAB file"),
        (b"\x80\x02", "a Python pickle"),
        (b"\x80\x04", "a Python pickle"),
        (b"\x80\x05", "a Python pickle"),
    ];
    if start.is_empty() {
        return Some("empty");
    }
    // Four bytes are enough where no more are at hand.
    let same =
        |bytes: &[u8]| start.starts_with(bytes) || start.len() == 4 && bytes.starts_with(start);
    let known = STARTS.iter().find(|(bytes, _)| same(bytes));
    known.map(|&(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_what_a_file_is() {
        assert_eq!(describe(b""), Some("empty"));
        assert_eq!(describe(b"\x1f\x8b\x08"), Some("compressed with gzip"));
        assert!(describe(b"\x93NUMPY\x01").is_some_and(|w| w.contains(".npy")));
        assert_eq!(describe(b"PK"), None);
        assert_eq!(describe(b"\x89HDF"), Some("an HDF5 file"));
        assert_eq!(describe(b"text"), None);
    }
}
