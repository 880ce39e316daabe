//! Builds an app inside its container: see the library.

fn main() -> std::process::ExitCode {
    ruko_slug::main(std::env::args_os())
}
