//! What people see without a server: every `--help`, and errors. `TRYCMD=overwrite` rewrites them.

#[test]
fn transcripts() {
    let home = tempfile::tempdir().unwrap();
    let cases = trycmd::TestCases::new();
    cases
        .default_bin_path(env!("CARGO_BIN_EXE_vmctl"))
        .env("HOME", home.path().to_str().unwrap())
        .env(
            "XDG_CONFIG_HOME",
            home.path().join("config").to_str().unwrap(),
        )
        .env("XDG_DATA_HOME", home.path().join("data").to_str().unwrap())
        .env(
            "XDG_STATE_HOME",
            home.path().join("state").to_str().unwrap(),
        )
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        // Whoever runs this has a keyring of their own: it must not be found.
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
        .env("VMCTL_TOKEN", "")
        .env("VMCTL_STORE", "auto")
        .env("VMCTL_OUTPUT", "table")
        .env("VMCTL_PROGRESS", "auto")
        .env("VMCTL_NO_INPUT", "0")
        .env("VMCTL_ENDPOINT", "http://127.0.0.1:1")
        .env(
            "VMCTL_CONFIG_DIR",
            home.path().join("config").to_str().unwrap(),
        )
        .case("tests/cmd/*.trycmd");
}
