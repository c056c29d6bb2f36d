//! The command line. The flags of the server's settings come from their declarations.

use std::collections::BTreeMap;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Parser, Subcommand};

use crate::commands::bench::BenchArgs;
use crate::commands::clear::ClearArgs;
use crate::commands::crawl::CrawlArgs;
use crate::commands::health::HealthArgs;
use crate::commands::keys::KeysArgs;
use crate::commands::outbox::OutboxVerb;
use crate::commands::stats::StatsArgs;
use crate::commands::tail::TailArgs;
use crate::commands::top::TopArgs;
use crate::commands::user::UserVerb;
use crate::config::declared::{Fallback, SETTINGS, Setting};

/// A cached multi-tenant backend: memory and SQLite out of the box, Redis and PostgreSQL when you have them.
#[derive(Debug, Parser)]
#[command(name = "larder", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the server.
    Serve(SettingFlags),
    /// Measure what the cache of a running server is worth.
    ///
    /// "SQL queries saved" counts statements at the database: those of the warm requests against what as many cold ones
    /// take. It needs the role admin, or to run on the server's machine, and nobody else who uses the server meanwhile.
    Bench(BenchArgs),
    /// Test the Redis connection, step by step.
    Check(SettingFlags),
    /// Tell by the exit code whether a running server is well: 0, or 1 with the reason.
    Health(HealthArgs),
    /// Show what the cache of a running server has done.
    Stats(StatsArgs),
    /// List the keys in a running server's memory, or show one entry.
    Keys(KeysArgs),
    /// Clear the cache of a running server, or a part of it.
    Clear(ClearArgs),
    /// Feed threats, one JSON object on each line, to a running server.
    Crawl(CrawlArgs),
    /// Print what is published for a tenant, as it comes.
    Tail(TailArgs),
    /// Watch a running server: hit rate, loads, times, memory, coherence, Redis, endpoints, invalidations.
    Top(TopArgs),
    /// Add somebody who may sign in.
    #[command(subcommand)]
    User(UserVerb),
    /// Set up an outbox in a database of one's own.
    #[command(subcommand)]
    Outbox(OutboxVerb),
    /// Show the effective configuration with the source of each value.
    Config(SettingFlags),
}

/// Settings given as flags: texts by variable name.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingFlags(pub(crate) BTreeMap<&'static str, String>);

fn flag(setting: &'static Setting) -> Arg {
    let default = match setting.default {
        Fallback::Unset => String::new(),
        Fallback::Always(text) => format!(" [default: {text}]"),
        Fallback::Modes { development, production } => {
            let production = if production.is_empty() { "none" } else { production };
            format!(" [default: {development}; in production: {production}]")
        }
    };
    let form = (setting.form)();
    let arg = Arg::new(setting.name)
        .long(setting.key.replace('_', "-"))
        .value_name("VALUE")
        .help(format!("{} [env: {}]{default}", setting.meaning, setting.name))
        .long_help(format!("{}\n[env: {}]{default}\naccepted: {form}", setting.meaning, setting.name))
        .help_heading("Settings");
    if setting.switch { arg.num_args(0..=1).default_missing_value("true") } else { arg }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        command.args(SETTINGS.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |setting: &'static Setting| {
            let text = matches.get_one::<String>(setting.name)?;
            Some((setting.name, text.clone()))
        };
        Ok(Self(SETTINGS.iter().filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.extend(Self::from_arg_matches(matches)?.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn flags(line: &[&str]) -> BTreeMap<&'static str, String> {
        match Cli::try_parse_from(line).unwrap().command {
            Verb::Serve(flags) | Verb::Check(flags) | Verb::Config(flags) => flags.0,
            other => panic!("{other:?} has no settings"),
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_setting_has_a_flag() {
        for setting in SETTINGS {
            let flag = format!("--{}", setting.name.to_ascii_lowercase().replace('_', "-"));
            assert_eq!(flags(&["larder", "serve", &flag, "x"]), [(setting.name, "x".to_owned())].into());
        }
    }

    #[test]
    fn a_switch_may_stand_alone_or_say_false() {
        assert_eq!(flags(&["larder", "serve", "--single-node"])["SINGLE_NODE"], "true");
        assert_eq!(flags(&["larder", "serve", "--cache-enabled", "false"])["CACHE_ENABLED"], "false");
        assert_eq!(flags(&["larder", "serve", "--single-node", "--port", "1"])["PORT"], "1");
        assert!(Cli::try_parse_from(["larder", "serve", "--workers"]).is_err());
    }
}
