//! Loading a directory of registry files, file by file, so that every wrong one can be told of.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use vmctl_api_types::Kind;

use super::{Registry, RegistryError};

/// Largest file of a registry, in bytes.
const MAX_FILE: u64 = 256 * 1024;

/// One file of a directory, and what became of it.
#[derive(Debug)]
pub struct CheckedFile {
    /// Which.
    pub path: PathBuf,
    /// The kind that it describes, or what is wrong with it.
    pub outcome: Result<Kind, RegistryError>,
    /// Whether its kind is built in, and replaced by it.
    pub replaces: bool,
}

/// Checks the files of a directory as [`Registry::with_directory`] would load them, all of them.
///
/// # Errors
///
/// When the directory cannot be read; what is wrong with a file is in its entry.
pub fn check_directory(directory: &Path) -> Result<Vec<CheckedFile>, RegistryError> {
    let mut registry = Registry::built_in()?;
    let mut files = registry.load(directory)?;
    for (kind, reason) in crate::flow::check_all(&registry) {
        let mut flows = files.iter_mut();
        let flow = flows.find(|file| matches!(&file.outcome, Ok(described) if *described == kind));
        // Without such a file it is a built-in flow that misses a kind, which a file has replaced.
        let invalid = |file| RegistryError::Invalid { file, reason };
        match flow {
            Some(file) => file.outcome = Err(invalid(file.path.display().to_string())),
            None => return Err(invalid(kind.to_string())),
        }
    }
    Ok(files)
}

impl Registry {
    /// Loads every file of a directory that can be used, by name.
    pub(super) fn load(&mut self, directory: &Path) -> Result<Vec<CheckedFile>, RegistryError> {
        let mut loaded = Vec::new();
        let mut described: BTreeMap<Kind, PathBuf> = BTreeMap::new();
        for path in files(directory)? {
            let name = path.display().to_string();
            let unreadable = |source| RegistryError::Io {
                path: name.clone(),
                source,
            };
            let text = read(&path).map_err(unreadable);
            let outcome = text.and_then(|text| self.add(&name, &text));
            let (outcome, replaces) = match outcome {
                Ok((kind, _)) if described.contains_key(&kind) => {
                    let other = described[&kind].display();
                    let reason = format!("kind {kind} is described in {other} too");
                    (Err(RegistryError::Invalid { file: name, reason }), false)
                }
                Ok((kind, replaces)) => {
                    described.insert(kind.clone(), path.clone());
                    (Ok(kind), replaces)
                }
                Err(error) => (Err(error), false),
            };
            loaded.push(CheckedFile {
                path,
                outcome,
                replaces,
            });
        }
        Ok(loaded)
    }
}

/// Reads a file of a registry. Whatever else has such a name, a pipe for one, is never opened.
fn read(path: &Path) -> io::Result<String> {
    let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return wrong("not a file");
    }
    if found.len() > MAX_FILE {
        return wrong("larger than 256 KiB");
    }
    fs::read_to_string(path)
}

/// The `*.toml` files of a directory, by name.
fn files(directory: &Path) -> Result<Vec<PathBuf>, RegistryError> {
    let unreadable = |source| RegistryError::Io {
        path: directory.display().to_string(),
        source,
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "kind = \"a.good\"\nsummary = \"x\"\nrequired_role = \"member\"\n[input_schema]\n";

    fn flow(kind: &str, step: &str) -> String {
        let flow = GOOD.replace("a.good", kind);
        format!("{flow}[[step]]\nname = \"a\"\nkind = \"{step}\"\n")
    }

    #[test]
    fn a_directory_is_no_file_of_a_registry() {
        let directory = std::env::temp_dir().join(format!("kinds-dir-{}", std::process::id()));
        fs::create_dir_all(directory.join("a.toml")).unwrap();
        let checked = check_directory(&directory).unwrap();
        fs::remove_dir_all(&directory).unwrap();
        let error = crate::error::chain(checked[0].outcome.as_ref().unwrap_err());
        assert!(error.contains("not a file"), "{error}");
    }

    #[test]
    fn every_wrong_file_is_told_of_and_good_ones_are_not() {
        let directory = std::env::temp_dir().join(format!("kinds-check-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let wrong = [
            (
                "b-key.toml",
                GOOD.replace("summary", "sumary"),
                "unknown field `sumary`",
            ),
            (
                "c-limit.toml",
                format!("deadline = \"9d\"\n{}", GOOD.replace("good", "limit")),
                "at most 8 d",
            ),
            (
                "d-schema.toml",
                format!("{}type = 7\n", GOOD.replace("good", "schema")),
                "no JSON Schema",
            ),
            ("e-name.toml", GOOD.replace("a.good", "good"), "kind"),
            ("f-twice.toml", GOOD.to_owned(), "a-good.toml too"),
            ("g-text.toml", "no TOML".to_owned(), "TOML parse error"),
            ("h-large.toml", "#".repeat(300_000), "larger than 256 KiB"),
            ("i-self.toml", flow("i.self", "i.self"), "at most 5 jobs"),
            (
                "j-none.toml",
                flow("j.none", "no.kind"),
                "there is no kind no.kind",
            ),
        ];
        fs::write(directory.join("a-good.toml"), GOOD).unwrap();
        fs::write(
            directory.join("vm.toml"),
            GOOD.replace("a.good", "vm.delete"),
        )
        .unwrap();
        fs::write(directory.join("notes.txt"), "not looked at").unwrap();
        for (name, text, _) in &wrong {
            fs::write(directory.join(name), text).unwrap();
        }
        let checked = check_directory(&directory).unwrap();
        let loaded = Registry::with_directory(&directory);
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(checked.len(), wrong.len() + 2);
        let good = |file: &CheckedFile, kind: &str, replaces| {
            assert_eq!(file.outcome.as_ref().unwrap().as_str(), kind);
            assert_eq!(file.replaces, replaces);
        };
        good(&checked[0], "a.good", false);
        good(&checked[checked.len() - 1], "vm.delete", true);
        for (file, (name, _, why)) in checked[1..].iter().zip(&wrong) {
            assert!(file.path.ends_with(name));
            let error = crate::error::chain(file.outcome.as_ref().unwrap_err());
            assert!(
                error.contains(name) && error.contains(why),
                "{name}: {error}"
            );
        }
        // A daemon stops at the first.
        assert!(
            matches!(loaded, Err(RegistryError::Parse { file, .. }) if file.ends_with("b-key.toml"))
        );
    }
}
