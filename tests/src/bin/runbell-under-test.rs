//! The `runbell` command, built as a program of this package so that its tests always run the current one.

fn main() -> std::process::ExitCode {
    runbell_cli::main()
}
