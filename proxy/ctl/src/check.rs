//! `proxyctl check`: judges a settings file.

use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The settings file
    file: PathBuf,
}

/// Prints what the file amounts to; all that is wrong with it is the error.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    match twinport_config::check(&options.file) {
        Ok(summary) => {
            println!("{summary}");
            Ok(())
        }
        Err(errors) => anyhow::bail!("the settings are not usable:\n{errors}"),
    }
}
