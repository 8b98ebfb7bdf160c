//! The checked-in completion scripts are what the binary prints. `VMCTL_UPDATE=1` rewrites them.

mod support;

use std::{fs, path::Path};

use support::{Home, Ran};

const FILES: [(&str, &str); 5] = [
    ("bash", "vmctl.bash"),
    ("zsh", "_vmctl"),
    ("fish", "vmctl.fish"),
    ("powershell", "_vmctl.ps1"),
    ("elvish", "vmctl.elv"),
];

#[test]
fn the_scripts_are_up_to_date() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../completions");
    for (shell, file) in FILES {
        // A directory that cannot be written, an address where nobody is: neither is touched.
        let home = Home::new();
        let mut command = home.command(&["completion", shell]);
        command
            .env("HOME", "/nonexistent")
            .env("VMCTL_ENDPOINT", "http://127.0.0.1:1");
        let ran = Ran::of(&mut command).expect(0);
        assert_eq!(ran.stderr, "");
        let path = directory.join(file);
        if std::env::var_os("VMCTL_UPDATE").is_some() {
            fs::write(&path, &ran.stdout).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == ran.stdout,
            "{} is out of date: run the test with VMCTL_UPDATE=1",
            path.display()
        );
    }
}
