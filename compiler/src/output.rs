//! Writing an artifact to its place: whole or not at all. The bytes go to a file in the same folder that has no name until it is complete,
//! where the file system can do that, so that a process that is killed leaves nothing behind; then it takes the name. Linux cannot replace a
//! file by one without a name, so there is a moment with two names, and whoever is killed in it leaves `.NAME.PID-N.tmp`. A process that has
//! the old file mapped keeps it.

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
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
    let written = match without_name(path) {
        Some(mut file) => {
            file.write_all(bytes).map_err(fail)?;
            // Without /proc it gets no name, and is written once more.
            beside(path, |temporary| Ok(give_name(&file, temporary)?)).ok()
        }
        None => None,
    };
    let mut guard = Temporary(None);
    let temporary = match written {
        Some(((), temporary)) => guard.0.insert(temporary),
        None => {
            let (mut file, temporary) =
                beside(path, |temporary| OpenOptions::new().write(true).create_new(true).open(temporary)).map_err(fail)?;
            let temporary = guard.0.insert(temporary);
            file.write_all(bytes).map_err(fail)?;
            temporary
        }
    };
    fs::rename(temporary, path).map_err(fail)?;
    guard.0 = None;
    Ok(())
}

/// A new file in the folder of `path` that has no name, if the file system has such files.
fn without_name(path: &Path) -> Option<File> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::from_raw_mode(0o666)).ok().map(File::from)
}

/// Gives such a file its first name, which nothing else may have.
fn give_name(file: &File, name: &Path) -> Result<(), Errno> {
    rustix::fs::linkat(CWD, format!("/proc/self/fd/{}", file.as_raw_fd()), CWD, name, AtFlags::SYMLINK_FOLLOW)
}

/// Makes something under a name beside `path` that nothing has.
fn beside<R>(path: &Path, make: impl Fn(&Path) -> std::io::Result<R>) -> std::io::Result<(R, PathBuf)> {
    let Some(name) = path.file_name() else { return Err(std::io::Error::new(ErrorKind::InvalidInput, "the path has no file name")) };
    let mut attempt = 0;
    loop {
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{attempt}.tmp", std::process::id()));
        let temporary = path.with_file_name(temporary);
        match make(&temporary) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists && attempt < 1000 => attempt += 1,
            result => return result.map(|made| (made, temporary)),
        }
    }
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
        // What a process that was killed has left under the names that this one would take is in nobody's way.
        fs::write(dir.join(format!(".a.so.{}-0.tmp", std::process::id())), b"left").unwrap();
        write_file(&path, b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        fs::remove_file(dir.join(format!(".a.so.{}-0.tmp", std::process::id()))).unwrap();
        let left: Vec<_> = fs::read_dir(&dir).unwrap().collect();
        assert_eq!(left.len(), 1);
        fs::remove_dir_all(&dir).unwrap();
    }
}
