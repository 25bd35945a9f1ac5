//! Writing an artifact to its place: whole or not at all. The bytes go to a temporary file in the same folder, which
//! then takes the name; a process that has the old file mapped keeps it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use wasmc_environ::jit::CompileError;

/// Removes the temporary file unless it got its name.
struct Temporary(Option<PathBuf>);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // There is nothing to do about a failure to clean up after a failure.
            let _ = fs::remove_file(path);
        }
    }
}

/// Writes `bytes` as the file `path`, replacing what was there.
///
/// # Errors
/// If the file cannot be written; nothing is left behind then.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), CompileError> {
    let fail = |e: std::io::Error| CompileError::Output(format!("cannot write {}: {e}", path.display()));
    // A pipe or a device cannot be replaced, only written to.
    if let Ok(m) = fs::metadata(path) {
        if m.is_dir() {
            return Err(CompileError::Output(format!("cannot write {}: it is a directory", path.display())));
        }
        if !m.is_file() {
            return OpenOptions::new().write(true).open(path).and_then(|mut f| f.write_all(bytes)).map_err(fail);
        }
    }
    let (mut file, temporary) = create_beside(path).map_err(fail)?;
    let mut guard = Temporary(Some(temporary));
    file.write_all(bytes).map_err(fail)?;
    drop(file);
    if let Some(temporary) = &guard.0 {
        fs::rename(temporary, path).map_err(fail)?;
    }
    guard.0 = None;
    Ok(())
}

fn create_beside(path: &Path) -> std::io::Result<(File, PathBuf)> {
    let Some(name) = path.file_name() else { return Err(std::io::Error::new(ErrorKind::InvalidInput, "the path has no file name")) };
    for attempt in 0.. {
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{attempt}.tmp", std::process::id()));
        let temporary = path.with_file_name(temporary);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists && attempt < 1000 => {}
            result => return result.map(|f| (f, temporary)),
        }
    }
    unreachable!("the loop above returns")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_or_not_at_all() {
        let dir = std::env::temp_dir().join(format!("wasmc-output-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("a.so");
        write_file(&path, b"one").unwrap();
        write_file(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert!(write_file(&dir, b"x").unwrap_err().to_string().contains("directory"));
        let missing = dir.join("none").join("a.so");
        assert!(write_file(&missing, b"x").unwrap_err().to_string().contains("none/a.so"));
        write_file(Path::new("/dev/null"), b"x").unwrap();
        let left: Vec<_> = fs::read_dir(&dir).unwrap().collect();
        assert_eq!(left.len(), 1);
        fs::remove_dir_all(&dir).unwrap();
    }
}
