//! `quire config`: checks a configuration, shows what holds, or prints an example.

use std::io::{self, Write};

use clap::{Subcommand, ValueEnum};

use crate::cli::exit::Exit;
use crate::cli::settings::Settings;
use crate::config::{Effective, Loaded, example};

/// Holds the arguments of `quire config`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Report every mistake of file, environment and flags at once
    Check(Settings),
    /// Print what holds in the end, and where each value comes from
    Show {
        #[command(flatten)]
        settings: Settings,
        /// How to print
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Print a file with every option, its meaning, its range and its default
    Example,
}

/// Names how a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    match &args.verb {
        Verb::Check(settings) => {
            let loaded = settings.load()?;
            let set = loaded.effective.iter().filter(|value| value.origin.is_some()).count();
            writeln!(out, "the configuration is right: {set} options set, the rest are defaults")?;
        }
        Verb::Show { settings, output: Output::Table } => {
            out.write_all(as_toml(&settings.load()?).as_bytes())?;
        }
        Verb::Show { settings, output: Output::Json } => {
            serde_json::to_writer_pretty(&mut out, &as_json(&settings.load()?))?;
            writeln!(out)?;
        }
        Verb::Example => out.write_all(example().as_bytes())?,
    }
    out.flush()?;
    Ok(Exit::Success)
}

/// Spells what holds as a file that may be used, each line with the place where it was set.
fn as_toml(loaded: &Loaded) -> String {
    let mut out = String::new();
    let mut section = None;
    for Effective { key, value, origin } in &loaded.effective {
        let value = &without_secrets(value);
        let (of, name) = match key.split_once('.') {
            Some((of, name)) => (Some(of), name),
            None => (None, *key),
        };
        if let Some(of) = of.filter(|_| of != section) {
            out.push_str(&format!("\n[{of}]\n"));
        }
        section = of;
        let set = origin.as_ref().map_or_else(|| "default".to_owned(), ToString::to_string);
        // A file's name may hold anything; a comment ends at the end of the line.
        let set = set.escape_debug();
        out.push_str(&format!("{:<44} # {set}\n", format!("{name} = {value}")));
    }
    out
}

fn as_json(loaded: &Loaded) -> serde_json::Value {
    let entry = |value: &Effective| {
        let origin = value.origin.as_ref().map(ToString::to_string);
        (
            value.key.to_owned(),
            serde_json::json!({ "value": without_secrets(&value.value), "origin": origin }),
        )
    };
    loaded.effective.iter().map(entry).collect::<serde_json::Map<_, _>>().into()
}

/// Blanks what is secret among settings of librdkafka: `sasl.password=...`.
fn without_secrets(value: &toml::Value) -> toml::Value {
    let Some(text) = value.as_str().filter(|text| text.contains('=')) else { return value.clone() };
    let blanked = |piece: &str| match piece.split_once('=') {
        Some((key, _)) if ["password", "secret"].iter().any(|word| key.contains(word)) => {
            format!("{key}=***")
        }
        _ => piece.to_owned(),
    };
    text.split(';').map(blanked).collect::<Vec<_>>().join(";").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let shown = |text: &str| without_secrets(&text.into());
        let set = "security.protocol=ssl; sasl.password=a=b;sasl.username=u";
        assert_eq!(shown(set), "security.protocol=ssl; sasl.password=***;sasl.username=u".into());
        assert_eq!(shown("kafka://h/p"), "kafka://h/p".into());
    }
}
