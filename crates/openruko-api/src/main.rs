//! The API of openruko.
fn main() -> std::process::ExitCode {
    openruko_api::main(std::env::args_os())
}
