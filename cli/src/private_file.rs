//! Files that only their owner may read, written whole or not at all.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

/// Largest file that is read back.
const MAX_BYTES: u64 = 256 * 1024;

/// Reads a file; `None` if there is none. A file of more than 256 KiB is an error.
pub fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is larger than 256 KiB",
        ));
    }
    Ok(Some(text))
}

/// Replaces a file. Its directory is made with mode 0700; the content is written to a new file of
/// mode 0600 in the same directory, flushed to disk and renamed, so that a crash leaves the old or
/// the new content and nobody else can open either.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    create_directory(directory)?;
    let temporary = beside(directory);
    let result = write_new(&temporary, text).and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        // What is left over holds nothing that the caller does not have; failing to remove it must
        // not hide the first error.
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Says whether a file can be written there, by writing and removing one.
pub fn probe(path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    create_directory(directory)?;
    let temporary = beside(directory);
    write_new(&temporary, "")?;
    fs::remove_file(&temporary)
}

/// Removes a file; one that is not there is fine. Says whether it was there.
pub fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the permission bits that let others in, if there are any.
#[cfg(unix)]
pub fn open_to_others(path: &Path) -> io::Result<Option<u32>> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

/// Other systems protect a user's directory by other means.
#[cfg(not(unix))]
pub fn open_to_others(_path: &Path) -> io::Result<Option<u32>> {
    Ok(None)
}

/// Returns a name that no other file of the directory has.
fn beside(directory: &Path) -> PathBuf {
    directory.join(format!(".new-{:032x}", rand::random::<u128>()))
}

fn create_directory(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path)
            .expect("the file is there")
            .permissions()
            .mode()
            & 0o777
    }

    #[test]
    fn a_file_is_private_from_its_first_moment() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/secret");
        write(&path, "one").unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        write(&path, "two").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("two"));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(open_to_others(&path).unwrap(), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(open_to_others(&path).unwrap(), Some(0o640));
        assert!(remove(&path).unwrap());
        assert!(!remove(&path).unwrap());
        assert_eq!(read(&path).unwrap(), None);
    }

    #[test]
    fn a_huge_file_is_not_read() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("huge");
        fs::write(&path, vec![b'a'; 300 * 1024]).unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(write(&path, "x").is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
