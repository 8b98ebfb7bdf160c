//! `vmctl`: asks for long infrastructure work and follows it from a terminal.

fn main() {
    let code = vmctl::run(std::env::args_os());
    // Not a return from `main`: a keyring that never answers has a thread that never ends, and
    // nothing may wait for it.
    std::process::exit(code.code());
}
