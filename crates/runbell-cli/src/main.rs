//! The `runbell` command.

fn main() -> std::process::ExitCode {
    runbell_cli::main()
}
