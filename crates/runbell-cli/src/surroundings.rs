//! The context of notifications in a command line: streams, environment, colours.

use std::sync::Arc;

use runbell::{BuildContext, Env, NotifierBuilder, Output, ProcessEnv};

use crate::output;

/// The environment without the mark of a notebook's kernel: the kernel reads standard output, which is the command's own
/// here, or a program's.
#[derive(Debug)]
struct NoKernel;

impl Env for NoKernel {
    fn var(&self, name: &str) -> Option<String> {
        if name == "EVCXR_IS_RUNTIME" { None } else { ProcessEnv.var(name) }
    }

    fn read_file(&self, path: &str) -> std::io::Result<String> {
        ProcessEnv.read_file(path)
    }
}

/// An environment variable. An empty one counts as unset.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The surroundings of a command line: text for people goes to standard error.
pub(crate) fn context() -> BuildContext {
    let output = Output::stderr().with_colour(output::colour()).with_width(output::width());
    BuildContext { output, env: Arc::new(NoKernel), ..BuildContext::here() }
}

/// A notifier builder with the surroundings of a command line.
pub(crate) fn notifier() -> anyhow::Result<NotifierBuilder> {
    let cx = context();
    let ui_url = variable("RUNBELL_UI_URL").unwrap_or_default();
    Ok(runbell::notifier()?.context(cx).ui_url(&ui_url))
}
