//! `config`: every setting in force and where it came from.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::args::{Format, Global, RunArgs};
use super::setting::Setting;
use crate::error::{Error, Exit};

/// Arguments of `config`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hpc-ci config                everything\n  hpc-ci config scheduler      what holds for Slurm here, and which file says so"
)]
pub(super) struct ConfigArgs {
    /// Only settings whose key contains one of these.
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// The configuration; without it, hpc.toml here or in a parent directory.
    #[arg(long, env = "HPC_CI_CONFIG", value_name = "PATH")]
    config: Option<std::path::PathBuf>,
}

pub(super) async fn config(args: ConfigArgs, global: &Global) -> Result<Exit, Error> {
    let run = RunArgs {
        config: args.config.clone(),
        ..RunArgs::default()
    };
    let setting = Setting::read(&run).await?;
    let suite = setting.local_suite()?;
    let wanted = |key: &str| {
        args.keys.is_empty() || args.keys.iter().any(|part| key.contains(part.as_str()))
    };
    let settings: Vec<_> = setting
        .site
        .settings()
        .iter()
        .chain(suite.settings())
        .filter(|setting| wanted(&setting.key))
        .collect();
    if global.format == Format::Json {
        let list: Vec<_> = settings
            .iter()
            .map(|it| json!({"key": it.key, "value": it.value, "origin": it.origin.to_string()}))
            .collect();
        return super::print_json(
            &json!({"schema_version": 1, "settings": list, "withheld": setting.withheld()}),
        );
    }
    let width = settings.iter().map(|it| it.key.len()).max().unwrap_or(0);
    let mut text = String::new();
    for it in settings {
        writeln!(text, "{:width$}  {}  # {}", it.key, it.value, it.origin)
            .expect("a String takes any text");
    }
    let withheld = setting.withheld();
    if args.keys.is_empty() && !withheld.is_empty() {
        let names = withheld.join(" ");
        writeln!(text, "# withheld from builds and steps: {names}")
            .expect("a String takes any text");
    }
    super::print_text(&text)
}
