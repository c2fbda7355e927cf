//! The `runbell` command.

/// A server makes and drops many small things at once; the system's allocator takes a tenth of its time for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    runbell_cli::main()
}
