//! Builds an app inside its container: see the library.

fn main() -> std::process::ExitCode {
    ruko_core::end_at_panic();
    ruko_slug::main(std::env::args_os())
}
