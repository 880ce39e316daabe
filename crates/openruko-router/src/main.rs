//! The program of this package; everything is in its library.

fn main() -> std::process::ExitCode {
    openruko_router::main(std::env::args_os())
}
