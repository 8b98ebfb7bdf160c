//! Who else may read a file that holds a secret.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Where containers find their secrets; their modes are those of files on a host whose users are others.
const MOUNTED: &str = "/run/secrets";

/// Returns the mode of a file that others than its owner may read. Not asked where who may read a file is not
/// up to its mode: Kubernetes mounts secrets as symbolic links, Compose as they are on the host, and systemd
/// lets the service read its credentials by an ACL, which shows as a right of the group.
pub(crate) fn mode_for_others(path: &Path) -> io::Result<Option<u32>> {
    let credentials = env::var_os("CREDENTIALS_DIRECTORY");
    if is_handed_over(path, credentials.as_ref().map(Path::new)) {
        return Ok(None);
    }
    let found = fs::symlink_metadata(path)?;
    let mode = found.permissions().mode() & 0o777;
    Ok((found.is_file() && mode & 0o077 != 0).then_some(mode))
}

/// Says whether whoever started the program has put the file there for it alone.
fn is_handed_over(path: &Path, credentials: Option<&Path>) -> bool {
    path.starts_with(MOUNTED) || credentials.is_some_and(|directory| path.starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_handed_over_is_not_asked_for_its_mode() {
        let handed_over =
            |path: &str| is_handed_over(Path::new(path), Some(Path::new("/run/credentials/unit")));
        assert!(handed_over("/run/secrets/tls-server.key"));
        assert!(handed_over("/run/credentials/unit/tls.key"));
        assert!(!handed_over("/run/secrets-of-others/tls.key"));
        assert!(!handed_over("/etc/vmctl/tls.key"));
        assert!(!is_handed_over(
            Path::new("/run/credentials/unit/tls.key"),
            None
        ));
    }
}
