//! The program of this package; everything is in its library.

fn main() -> std::process::ExitCode {
    ruko_core::end_at_panic();
    openruko_host::main(std::env::args_os())
}
