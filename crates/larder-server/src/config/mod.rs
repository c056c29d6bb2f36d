//! The configuration: flag > environment > `.env` > `larder.toml` > default, each value with the source it came from.

mod check;
pub(crate) mod declared;
mod dotenv;
pub(crate) mod nearest;
mod problem;
#[cfg(test)]
mod reference;
mod secret_files;
mod sources;
#[cfg(test)]
mod tests;
pub(crate) mod ttl;
pub mod value;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use larder::store::redis::{RedisConfig, TlsFiles};

use check::Check;
pub use declared::Config;
use declared::{Reader, Setting};
pub use problem::{Problem, Problems};
pub use sources::Source;
use sources::Sources;
pub use ttl::Ttls;
use value::{Listen, Mode, Secrecy, Timeout, Value, without_password};

/// Where the server listens unless told otherwise.
pub(crate) const DEFAULT_LISTEN: &str = "127.0.0.1:8000";

/// One effective value, as `larder config` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) name: String,
    /// Nothing where it is unset.
    pub(crate) value: Option<String>,
    pub(crate) source: Source,
}

/// A configuration that is right, with what is worth saying about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    pub(crate) shown: Vec<Shown>,
    /// Misspelt variables and the like.
    pub warnings: Vec<String>,
}

/// Reads the configuration of this process. `flags` are texts by variable name.
///
/// # Errors
/// Every problem there is, at once.
pub fn load(flags: BTreeMap<&'static str, String>) -> Result<Loaded, Problems> {
    read(&Sources::of_process(flags, Path::new(".")))
}

/// What environment, `.env` and `larder.toml` in `directory` say about each of `names`, whatever it is worth.
pub(crate) fn said(directory: &Path, names: &[&str]) -> Vec<Option<String>> {
    let sources = Sources::of_process(BTreeMap::new(), directory);
    names.iter().map(|name| sources.find(name, false).map(|(text, _)| text.to_owned())).collect()
}

/// Where `larder serve` in `directory` would listen, as far as can be told without its flags.
pub(crate) fn listens(directory: &Path) -> String {
    let sources = Sources::of_process(BTreeMap::new(), directory);
    address_of(sources.find("LISTEN", false), sources.find("PORT", false)).0
}

/// The configuration of a server about which nobody said more than `environment`.
#[cfg(test)]
pub(crate) fn of_test(environment: &[(&str, &str)]) -> Config {
    let environment =
        environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    read(&Sources { environment, ..Sources::default() }).expect("a right configuration").config
}

/// For fuzzing: reads texts as `larder.toml` and `.env`. Whatever they are, the outcome is a configuration or a list of
/// problems.
#[doc(hidden)]
pub fn fuzz(toml: &str, dotenv: &str) {
    let mut sources = Sources::default();
    sources.read_toml(toml);
    sources.read_dotenv(dotenv);
    if let Err(problems) = read(&sources) {
        assert!(!problems.problems.is_empty());
    }
}

fn read(sources: &Sources) -> Result<Loaded, Problems> {
    let mut reading = Reading::new(sources);
    let ttl = reading.ttls();
    let mut config = Config::read(&mut reading, ttl);
    let Reading { mut shown, problems, refused, ports, .. } = reading;
    let mut check = Check { config: &config, sources, refused, problems, warnings: sources.misspelt() };
    check.all();
    let Check { problems, warnings, .. } = check;
    if !problems.is_empty() {
        return Err(Problems { problems, warnings });
    }
    let (address, source) = listen(&config, ports);
    if let Some(row) = shown.iter_mut().find(|row| row.name == "LISTEN") {
        *row = Shown { value: Some(address.0.clone()), source, ..row.clone() };
    }
    config.listen = Some(address);
    if let Some(row) = shown.iter_mut().find(|row| row.name == "COHERENCE_LEASE") {
        row.value = Some(value::written(config.lease()));
    }
    shown.extend(config.ttl.iter().map(|(name, ttl)| {
        let source = if sources.ttl.contains_key(name) { Source::Toml } else { Source::Default };
        Shown { name: format!("ttl.{name}"), value: Some(value::written(ttl)), source }
    }));
    Ok(Loaded { config, shown, warnings })
}

fn listen(config: &Config, (listen, port): (Source, Source)) -> (Listen, Source) {
    let number = config.port.as_ref().map(|port| port.0.to_string());
    let address = config.listen.as_ref().map(|address| (address.0.as_str(), listen));
    let (address, source) = address_of(address, number.as_deref().map(|number| (number, port)));
    (Listen(address), source)
}

/// `PORT` means every address of the machine, unless `LISTEN` was said at least as strongly.
fn address_of(listen: Option<(&str, Source)>, port: Option<(&str, Source)>) -> (String, Source) {
    match (listen, port) {
        (Some((address, said)), Some((_, by))) if said.is_as_strong_as(by) => (address.to_owned(), said),
        (_, Some((number, by))) => (format!("0.0.0.0:{number}"), by),
        (Some((address, said)), None) => (address.to_owned(), said),
        (None, None) => (DEFAULT_LISTEN.to_owned(), Source::Default),
    }
}

impl Config {
    /// The address to listen on, after `PORT` has had its say.
    pub fn listen_address(&self) -> &str {
        self.listen.as_ref().map_or(DEFAULT_LISTEN, |listen| listen.0.as_str())
    }

    /// Whether sample data and logins are wanted.
    pub fn is_development(&self) -> bool {
        self.env == Mode::Development
    }

    /// Whether there are sample logins.
    pub(crate) fn has_sample_logins(&self) -> bool {
        self.is_development() && self.sample_data != value::SampleData::None
    }

    /// The coherence lease: by default 1 s, with Redis Cluster 2 s.
    pub fn lease(&self) -> Duration {
        let default = Duration::from_secs(if self.is_cluster() { 2 } else { 1 });
        self.coherence_lease.map_or(default, |lease| lease.0)
    }

    /// How long the server says that it is not ready before it stops: by default 5 s where somebody stands before it.
    pub fn shutdown_delay(&self) -> Duration {
        let default = Duration::from_secs(if self.trusted_proxies.0.is_empty() { 0 } else { 5 });
        self.shutdown_delay.map_or(default, |delay| delay.0)
    }

    /// Whether the shared tier is a Redis Cluster.
    pub fn is_cluster(&self) -> bool {
        let scheme = self.redis_url.as_ref().and_then(|url| url.0.split_once("://"));
        scheme.is_some_and(|(scheme, _)| scheme.ends_with("+cluster"))
    }
}

impl Config {
    /// How to reach Redis, where there is one.
    pub fn redis(&self) -> Option<RedisConfig> {
        let path = |file: &Option<value::PemFile>| file.as_ref().map(|file| file.0.clone());
        let mut redis = RedisConfig::new(&self.redis_url.as_ref()?.0);
        redis.connect_timeout = self.redis_connect_timeout.0;
        redis.command_timeout = self.redis_timeout.0;
        redis.read_timeout = self.redis_read_timeout.0;
        redis.pool_size = self.redis_pool_size.as_usize();
        redis.health_interval = self.redis_health_interval.0;
        redis.tls = TlsFiles {
            ca: path(&self.redis_tls_ca),
            cert: path(&self.redis_tls_cert),
            key: path(&self.redis_tls_key),
        };
        redis.maxmemory = self.redis_maxmemory.map(|size| size.0);
        redis.maxmemory_policy = self.redis_maxmemory_policy.0.to_owned();
        Some(redis)
    }
}

/// Reads texts as values and notes what is wrong with them.
struct Reading<'a> {
    sources: &'a Sources,
    mode: Mode,
    shown: Vec<Shown>,
    problems: Vec<Problem>,
    /// Whose value was refused: a default stands in.
    refused: Vec<&'static str>,
    /// The sources of `LISTEN` and `PORT`.
    ports: (Source, Source),
}

impl<'a> Reading<'a> {
    fn new(sources: &'a Sources) -> Self {
        // Defaults hang on the mode. Where it can't be read that is a problem of its own, found again in its turn.
        let mode = sources.find("ENV", false).and_then(|(text, _)| Mode::parse(text).ok());
        Self {
            sources,
            mode: mode.unwrap_or(Mode::Development),
            shown: Vec::new(),
            problems: sources.problems.clone(),
            refused: Vec::new(),
            ports: (Source::Default, Source::Default),
        }
    }

    fn ttls(&mut self) -> Ttls {
        let mut ttls = Ttls::default();
        for (name, text) in &self.sources.ttl {
            match <Timeout>::parse(text.trim()) {
                Ok(ttl) => ttls.set(name, ttl.0),
                Err(why) => self.problems.push(
                    Problem::new(format!("ttl.{name}"), format!("{text:?} ({}) {why}", Source::Toml))
                        .accepted(<Timeout>::form()),
                ),
            }
        }
        ttls
    }
}

impl Reader for Reading<'_> {
    fn value<T: Value>(&mut self, setting: &Setting) -> T {
        let given = self.sources.find(setting.name, setting.optional);
        let (text, source) = given.unwrap_or((setting.default.text(self.mode), Source::Default));
        match setting.name {
            "LISTEN" => self.ports.0 = source,
            "PORT" => self.ports.1 = source,
            _ => {}
        }
        let value = (!text.is_empty()).then(|| for_people(text, setting.secrecy));
        self.shown.push(Shown { name: setting.name.to_owned(), value, source });
        match T::parse(text) {
            Ok(value) => value,
            Err(why) => {
                let given = match setting.secrecy {
                    Secrecy::Hidden => "the value".to_owned(),
                    shown => format!("{:?}", for_people(text, shown)),
                };
                let problem = Problem::new(setting.name, format!("{given} ({source}) {why}"));
                self.problems.push(problem.accepted((setting.form)()));
                self.refused.push(setting.name);
                T::parse(setting.default.text(self.mode)).expect("a test reads every default")
            }
        }
    }
}

fn for_people(text: &str, secrecy: Secrecy) -> String {
    match secrecy {
        Secrecy::Open => text.to_owned(),
        Secrecy::Url => without_password(text),
        Secrecy::Hidden => "(hidden)".to_owned(),
    }
}
