//! `clouds.yaml` and `secure.yaml`: where they are looked for, and one cloud's entry in them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::fields::Settings;
use super::{CloudError, Sources};

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Clouds {
    clouds: HashMap<String, Option<Entry>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<Settings>,
    auth_type: Option<String>,
    cacert: Option<String>,
    region_name: Option<String>,
    profile: Option<String>,
    verify: Option<bool>,
}

/// The entry of a cloud, secrets laid over it, and the files that it was read from.
pub(super) fn entry(
    name: &str,
    sources: &Sources<'_>,
) -> Result<(Settings, Vec<PathBuf>), CloudError> {
    let file = find("clouds", "OS_CLIENT_CONFIG_FILE", sources)
        .ok_or_else(|| CloudError::NoFile(name.to_owned()))?;
    let entry = read(&file)?.clouds.remove(name).flatten();
    let entry = entry.ok_or_else(|| CloudError::Unknown {
        name: name.to_owned(),
        file: file.clone(),
    })?;
    entry.check()?;
    let mut auth = entry.flat();
    let mut files = vec![file];
    if let Some(file) = find("secure", "OS_CLIENT_SECURE_FILE", sources)
        && let Some(secure) = read(&file)?.clouds.remove(name).flatten()
    {
        auth = secure.flat().over(auth);
        files.push(file);
    }
    Ok((auth, files))
}

impl Entry {
    /// Refuses settings whose silent absence would mislead.
    fn check(&self) -> Result<(), CloudError> {
        if self.verify == Some(false) {
            let hint = "certificates are always verified; set cacert".to_owned();
            return Err(CloudError::Unusable("verify", hint));
        }
        match &self.profile {
            Some(profile) if !self.has_address() => {
                let hint = format!("profiles such as {profile:?} are not supported; set auth_url");
                Err(CloudError::Unusable("profile", hint))
            }
            _ => Ok(()),
        }
    }

    fn flat(self) -> Settings {
        Settings {
            auth_type: self.auth_type,
            cacert: self.cacert,
            region_name: self.region_name,
            ..self.auth.unwrap_or_default()
        }
    }

    fn has_address(&self) -> bool {
        self.auth
            .as_ref()
            .is_some_and(|auth| auth.auth_url.is_some())
    }
}

/// The first file there is: the one that a variable names, else in the working directory, the
/// user's configuration, the system's.
fn find(stem: &str, variable: &str, sources: &Sources<'_>) -> Option<PathBuf> {
    if let Some(named) = sources.get(variable) {
        return Some(named.into());
    }
    let home = sources
        .get("HOME")
        .map(|home| Path::new(&home).join(".config"));
    let configuration = sources.get("XDG_CONFIG_HOME").map(PathBuf::from);
    let directories = [
        sources.working_directory.map(Path::to_path_buf),
        configuration.map(|directory| directory.join("openstack")),
        home.map(|directory| directory.join("openstack")),
        Some(sources.system_directory.to_path_buf()),
    ];
    let candidates = directories.into_iter().flatten().flat_map(|directory| {
        ["yaml", "yml", "json"].map(|extension| directory.join(format!("{stem}.{extension}")))
    });
    candidates.into_iter().find(|path| path.is_file())
}

fn read(file: &Path) -> Result<Clouds, CloudError> {
    let read_error = |source| CloudError::Read {
        file: file.to_owned(),
        source,
    };
    let mut text = String::new();
    let opened = File::open(file).map_err(read_error)?;
    opened
        .take(LARGEST + 1)
        .read_to_string(&mut text)
        .map_err(read_error)?;
    if text.len() as u64 > LARGEST {
        return Err(read_error(io::Error::other(
            "the file is larger than 1 MiB",
        )));
    }
    // JSON is YAML, so one parser reads both.
    serde_saphyr::from_str(&text).map_err(|error| CloudError::Parse {
        file: file.to_owned(),
        line: error.location().map_or(0, |location| location.line()),
    })
}
