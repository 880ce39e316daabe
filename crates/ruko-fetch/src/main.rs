//! See the library.

fn main() -> std::process::ExitCode {
    ruko_fetch::main(std::env::args_os())
}
