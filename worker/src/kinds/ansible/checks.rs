//! What a job may bring to a playbook: the name of one, hosts and plain data.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// Finds a playbook: a plain file of the directory, not a link that leads out of it.
pub(super) fn playbook(directory: &Path, name: &str) -> Result<PathBuf, String> {
    let plain = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !name.contains("..")
        && matches!(name.rsplit_once('.'), Some((_, "yml" | "yaml")));
    if !plain {
        return Err(format!("{name:?} is no name of a playbook"));
    }
    let path = directory.join(name);
    match path.canonicalize() {
        Ok(found) if found.starts_with(directory) && found.is_file() => Ok(found),
        _ => Err(format!("there is no playbook {name}")),
    }
}

/// Checks that hosts are names or addresses and nothing else.
pub(super) fn hosts(hosts: &[String]) -> Result<(), String> {
    let is_host = |host: &str| {
        (1..=253).contains(&host.len())
            && host.starts_with(|c: char| c.is_ascii_alphanumeric())
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".:-".contains(&b))
    };
    match hosts.iter().find(|host| !is_host(host)) {
        Some(host) => Err(format!("{host:?} is no host")),
        None if hosts.is_empty() => Err("there are no hosts".to_owned()),
        None => Ok(()),
    }
}

/// Names that mean something to Ansible itself, beside all that begin with `ansible_`.
const RESERVED: [&str; 14] = [
    "ansible",
    "connection",
    "environment",
    "group_names",
    "groups",
    "hostvars",
    "inventory_dir",
    "inventory_file",
    "inventory_hostname",
    "omit",
    "play_hosts",
    "playbook_dir",
    "role_path",
    "vars",
];

/// Checks that variables are data. Ansible evaluates templates in variables, and some variables are
/// settings: either would let a job run programs on the worker.
pub(super) fn vars(vars: &Map<String, Value>) -> Result<(), String> {
    for (name, value) in vars {
        let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let lower = name.to_ascii_lowercase();
        if !plain || lower.starts_with("ansible_") || RESERVED.contains(&lower.as_str()) {
            return Err(format!("the variable {name:?} cannot be set by a job"));
        }
        data(value).map_err(|reason| format!("the variable {name}: {reason}"))?;
    }
    Ok(())
}

fn data(value: &Value) -> Result<(), &'static str> {
    match value {
        Value::String(text) => plain(text),
        Value::Array(items) => items.iter().try_for_each(data),
        Value::Object(members) => members.iter().try_for_each(|(name, member)| {
            plain(name)?;
            // Marks by which Ansible's JSON says what a value is.
            if name.starts_with("__ansible") {
                return Err("names beginning with __ansible are refused");
            }
            data(member)
        }),
        _ => Ok(()),
    }
}

fn plain(text: &str) -> Result<(), &'static str> {
    if ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark)) {
        return Err("templates are refused");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use serde_json::json;

    use super::*;

    #[test]
    fn only_files_of_the_directory_are_playbooks() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("evil.yml"), "").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap();
        std::fs::write(path.join("site.yml"), "").unwrap();
        std::fs::create_dir(path.join("dir.yml")).unwrap();
        symlink(outside.path().join("evil.yml"), path.join("link.yml")).unwrap();
        symlink(path.join("site.yml"), path.join("alias.yml")).unwrap();
        assert_eq!(playbook(&path, "site.yml"), Ok(path.join("site.yml")));
        assert_eq!(playbook(&path, "alias.yml"), Ok(path.join("site.yml")));
        for bad in [
            "",
            ".",
            "..",
            "../site.yml",
            "/etc/passwd",
            "a/site.yml",
            "-e@x.yml",
            ".site.yml",
            "site",
            "site.json",
            "link.yml",
            "dir.yml",
            "none.yml",
            "site.yml\n",
            "si\0te.yml",
            "a..yml",
            "ä.yml",
        ] {
            assert!(playbook(&path, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        let check = |host: &str| hosts(&[host.to_owned()]).is_ok();
        for good in ["lx1", "192.0.2.7", "2001:db8::1", "web.example.com"] {
            assert!(check(good), "{good}");
        }
        for bad in [
            "",
            "-oProxyCommand=x",
            "a b",
            "a\nb",
            "a,b",
            "[a]",
            "a;b",
            "{{x}}",
            "@x",
            "~x",
            "a=b",
        ] {
            assert!(!check(bad), "{bad:?}");
        }
        assert!(hosts(&[]).is_err());
    }

    #[test]
    fn variables_are_data() {
        let check = |value: Value| vars(value.as_object().unwrap()).is_ok();
        assert!(check(
            json!({"a": 1, "list": ["x", {"b": null}], "_c": "{ }"})
        ));
        for bad in [
            json!({"ansible_connection": "local"}),
            json!({"ANSIBLE_HOST": "x"}),
            json!({"hostvars": {}}),
            json!({"a-b": 1}),
            json!({"": 1}),
            json!({"a": "{{ lookup('pipe', 'id') }}"}),
            json!({"a": [{"b": "{% if x %}"}]}),
            json!({"a": {"{{x}}": 1}}),
            json!({"a": {"__ansible_vault": "x"}}),
        ] {
            assert!(!check(bad.clone()), "{bad}");
        }
    }
}
