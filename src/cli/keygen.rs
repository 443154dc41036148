//! `bearward keygen`: a session key of 256 random bits.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use super::{KeygenArgs, failed, print};
use crate::base::secret::random_text;

/// Makes a key and prints it, or writes it to a file of its own.
pub(super) fn run(args: &KeygenArgs) -> ExitCode {
    let line = zeroize::Zeroizing::new(format!("{}\n", random_text::<32>()));
    let Some(path) = &args.out else {
        return print(&line);
    };
    match write_new(path, &line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            failed(&format!("{} exists; a key is never overwritten", path.display()))
        }
        Err(error) => failed(&format!("cannot write {}: {}", path.display(), error.kind())),
    }
}

/// Writes a file that was not there and that only its owner may read.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_file_is_private_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.key");
        write_new(&path, "first\n").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(write_new(&path, "second\n").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\n");
    }
}
