use super::sources::Sources;
use super::*;

fn sources(flags: &[(&'static str, &str)], env: &[(&str, &str)], dotenv: &str, toml: &str) -> Sources {
    let mut sources = Sources {
        flags: flags.iter().map(|(name, text)| (*name, (*text).to_owned())).collect(),
        environment: env.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
        ..Sources::default()
    };
    sources.read_dotenv(dotenv);
    sources.read_toml(toml);
    sources.read_secret_files();
    sources
}

fn env(env: &[(&str, &str)]) -> Result<Loaded, Problems> {
    read(&sources(&[], env, "", ""))
}

fn row<'a>(loaded: &'a Loaded, name: &str) -> &'a Shown {
    loaded.shown.iter().find(|row| row.name == name).expect(name)
}

fn lines(problems: &Problems) -> Vec<String> {
    problems.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn with_nothing_said_the_defaults_of_development_hold() {
    let loaded = env(&[]).unwrap();
    assert_eq!(loaded.config.listen_address(), "127.0.0.1:8000");
    assert_eq!(loaded.config.database_url.0, "sqlite://larder.db");
    assert_eq!(loaded.config.workers.count(8), 1);
    assert_eq!(loaded.config.cache_memory.0, 256 << 20);
    assert_eq!(loaded.config.lease(), Duration::from_secs(1));
    assert!(loaded.config.cors_origins.allow("http://localhost:5173"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn production_has_defaults_of_its_own_and_needs_a_secret() {
    let problems = env(&[("ENV", "production")]).unwrap_err();
    assert_eq!(problems.problems.len(), 1);
    assert!(lines(&problems)[0].starts_with("JWT_SECRET: is required where ENV is production"));

    let secret = "0123456789abcdef0123456789abcdef";
    let loaded = env(&[("ENV", "production"), ("JWT_SECRET", secret)]).unwrap();
    assert_eq!(loaded.config.workers.count(8), 8);
    assert_eq!(loaded.config.sample_data, value::SampleData::None);
    assert!(!loaded.config.cors_origins.allow("http://localhost:5173"));
    assert_ne!(loaded.config.rate_limit_api, value::Rate::Off);
}

#[test]
fn a_flag_beats_the_environment_beats_dotenv_beats_toml_beats_the_default() {
    let toml = "cache_memory = \"1mb\"\n";
    let dotenv = "CACHE_MEMORY=2mb\n";
    let environment = [("CACHE_MEMORY", "3mb")];
    let flags = [("CACHE_MEMORY", "4mb")];
    for (sources, megabytes, source) in [
        (sources(&[], &[], "", ""), 256, Source::Default),
        (sources(&[], &[], "", toml), 1, Source::Toml),
        (sources(&[], &[], dotenv, toml), 2, Source::Dotenv(1)),
        (sources(&[], &environment, dotenv, toml), 3, Source::Environment),
        (sources(&flags, &environment, dotenv, toml), 4, Source::Flag),
    ] {
        // A value may only be as large as the memory where both were chosen; here one was.
        let loaded = read(&sources).unwrap();
        assert_eq!(loaded.config.cache_memory.0, megabytes << 20);
        assert_eq!(row(&loaded, "CACHE_MEMORY").source, source);
    }
}

#[test]
fn every_default_can_be_read_in_both_modes() {
    for mode in ["development", "production"] {
        let loaded = env(&[("ENV", mode), ("JWT_SECRET", &"x".repeat(32))]);
        assert!(loaded.is_ok(), "{:?}", loaded.err());
    }
}

#[test]
fn all_problems_are_reported_at_once_each_with_name_value_and_accepted_form() {
    let problems = read(&sources(
        &[("LISTEN", "nowhere")],
        &[("CACHE_MEMORY", "lots"), ("WORKERS", "0"), ("REDIS_URL", "http://u:hunter2@h")],
        "JWT_TTL=soon\nnonsense\n",
        "cache_memroy = 1\n[ttl]\ncampaings = \"5m\"\njobs = \"never\"\n",
    ))
    .unwrap_err();
    let text = problems.to_string();
    for part in [
        "the configuration has 9 problems:",
        "LISTEN: \"nowhere\" (flag) has no port; accepted: an address with a port",
        "CACHE_MEMORY: \"lots\" (environment) is not a size; accepted: a number with b, kb, mb or gb",
        "WORKERS: \"0\" (environment) is out of range; accepted: a whole number from 1 to 1024, or cores",
        "REDIS_URL: \"http://u:***@h\" (environment) has the unknown scheme http; accepted: redis://",
        "JWT_TTL: \"soon\" (.env line 1) is not a duration; accepted: a duration such as 250ms",
        ".env line 2: is no NAME=value",
        "larder.toml key cache_memroy: is unknown; did you mean cache_memory?",
        "larder.toml key ttl.campaings: is unknown; did you mean campaigns?",
        "ttl.jobs: \"never\" (larder.toml) is not a duration",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    assert!(!text.contains("hunter2"));
}

#[test]
fn secrets_are_never_shown_and_passwords_of_urls_neither() {
    let loaded = env(&[
        ("JWT_SECRET", "a-secret-that-nobody-may-see-at-all"),
        ("REDIS_URL", "redis://u:hunter2@localhost:6379/0"),
        ("DATABASE_URL", "postgres://u:hunter2@localhost/db"),
    ])
    .unwrap();
    assert_eq!(row(&loaded, "JWT_SECRET").value.as_deref(), Some("(hidden)"));
    assert_eq!(row(&loaded, "REDIS_URL").value.as_deref(), Some("redis://u:***@localhost:6379/0"));
    let all = format!("{loaded:?}");
    assert!(!all.contains("hunter2") && !all.contains("nobody-may-see"), "{all}");
}

#[test]
fn port_alone_means_every_address_and_listen_beats_it_unless_port_was_said_more_strongly() {
    assert_eq!(env(&[("PORT", "9000")]).unwrap().config.listen_address(), "0.0.0.0:9000");
    let both = env(&[("PORT", "9000"), ("LISTEN", "127.0.0.1:1")]).unwrap();
    assert_eq!(both.config.listen_address(), "127.0.0.1:1");
    assert_eq!(row(&both, "LISTEN").value.as_deref(), Some("127.0.0.1:1"));
    // A file has no stronger and weaker lines.
    let file = read(&sources(&[], &[], "LISTEN=127.0.0.1:1\nPORT=9000", "")).unwrap();
    assert_eq!(file.config.listen_address(), "127.0.0.1:1");
    let hosted = read(&sources(&[], &[("PORT", "9000")], "", "listen = \"127.0.0.1:1\"")).unwrap();
    assert_eq!(hosted.config.listen_address(), "0.0.0.0:9000");
    assert_eq!(row(&hosted, "LISTEN").source, Source::Environment);
}

#[test]
fn an_empty_variable_unsets_what_may_be_unset_and_is_ignored_elsewhere() {
    let loaded = read(&sources(
        &[],
        &[("REDIS_URL", ""), ("WORKERS", "")],
        "REDIS_URL=redis://localhost\nWORKERS=3\n",
        "",
    ))
    .unwrap();
    assert_eq!(loaded.config.redis_url, None);
    assert_eq!(row(&loaded, "REDIS_URL").source, Source::Environment);
    assert_eq!(loaded.config.workers.count(1), 3);
}

#[test]
fn toml_values_may_have_their_own_types() {
    let text = "workers = 3\nsingle_node = true\ncors_origins = [\"http://a.example\", \"http://b.example\"]\n\
                [ttl]\ncampaigns = \"7m\"\n";
    let loaded = read(&sources(&[], &[], "", text)).unwrap();
    assert_eq!(loaded.config.workers.count(1), 3);
    assert!(loaded.config.single_node);
    assert!(loaded.config.cors_origins.allow("http://b.example"));
    assert_eq!(loaded.config.ttl.get("campaigns"), Some(Duration::from_secs(420)));
    assert_eq!(loaded.config.ttl.get("leads"), Some(Duration::from_secs(300)));
    assert_eq!(row(&loaded, "ttl.campaigns").source, Source::Toml);
    assert_eq!(row(&loaded, "ttl.leads").source, Source::Default);
}

#[test]
fn toml_that_is_none_or_has_tables_for_values_is_a_problem() {
    for text in ["workers = ", "workers = { a = 1 }", "ttl = 5", "workers = [[1]]"] {
        assert!(read(&sources(&[], &[], "", text)).is_err(), "{text}");
    }
}

#[test]
fn a_misspelt_variable_near_a_known_one_is_a_warning() {
    let loaded = read(&sources(
        &[],
        &[("REDIS_ULR", "redis://localhost"), ("HOME", "/root"), ("LARDER_URL", "http://localhost")],
        "CACHE_MEMROY=1mb\n",
        "",
    ))
    .unwrap();
    assert_eq!(
        loaded.warnings,
        [
            "REDIS_ULR (environment) is no setting and has no effect; did you mean REDIS_URL?",
            "CACHE_MEMROY (.env line 1) is no setting and has no effect; did you mean CACHE_MEMORY?",
        ]
    );
}

#[test]
fn the_misspelling_behind_a_missing_setting_is_shown_with_it() {
    let text = env(&[("ENV", "production"), ("JWT_SECERT", "x")]).unwrap_err().to_string();
    assert!(text.contains("JWT_SECRET: is required") && text.contains("did you mean JWT_SECRET?"), "{text}");
}

#[test]
fn contradictions_are_problems() {
    let dir = tempfile::tempdir().unwrap();
    let pem = dir.path().join("ca.pem");
    std::fs::write(&pem, "-----BEGIN CERTIFICATE-----\n").unwrap();
    let problems = env(&[
        ("REDIS_URL", "redis://localhost"),
        ("REDIS_TLS_CA", pem.to_str().unwrap()),
        ("CACHE_MEMORY", "1mb"),
        ("CACHE_MAX_VALUE_SIZE", "2mb"),
    ])
    .unwrap_err();
    let lines = lines(&problems);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with("REDIS_URL: a TLS CA is configured") && lines[0].contains("rediss://"),
        "{lines:?}"
    );
    assert_eq!(lines[1], "CACHE_MAX_VALUE_SIZE: 2mb is more than CACHE_MEMORY, 1mb");
    assert!(env(&[("CACHE_MEMORY", "1mb")]).is_ok());
    assert!(env(&[("CACHE_MEMORY", "64kb")]).is_err());
    assert!(env(&[("CACHE_MAX_VALUE_SIZE", "65mb")]).is_err());
}

#[test]
fn the_lease_that_holds_is_shown_where_nobody_chose_one() {
    let loaded = env(&[]).unwrap();
    let shown = row(&loaded, "COHERENCE_LEASE");
    assert_eq!((shown.value.as_deref(), shown.source), (Some("1s"), Source::Default));
}

#[test]
fn a_cluster_has_the_longer_lease() {
    for url in ["redis+cluster://a,b", "rediss+cluster://a"] {
        let loaded = env(&[("REDIS_URL", url)]).unwrap();
        assert_eq!(loaded.config.lease(), Duration::from_secs(2));
        assert_eq!(row(&loaded, "COHERENCE_LEASE").value.as_deref(), Some("2s"));
        let chosen = env(&[("REDIS_URL", url), ("COHERENCE_LEASE", "5s")]).unwrap();
        assert_eq!(chosen.config.lease(), Duration::from_secs(5));
    }
}

#[test]
fn a_server_that_somebody_stands_before_stops_later() {
    assert_eq!(env(&[]).unwrap().config.shutdown_delay(), Duration::ZERO);
    let behind = ("TRUSTED_PROXIES", "10.0.0.0/8");
    assert_eq!(env(&[behind]).unwrap().config.shutdown_delay(), Duration::from_secs(5));
    let chosen = env(&[behind, ("SHUTDOWN_DELAY", "0")]).unwrap();
    assert_eq!(chosen.config.shutdown_delay(), Duration::ZERO);
}

#[test]
fn a_secret_may_stand_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("jwt"), "0123456789abcdef0123456789abcdef\n").unwrap();
    std::fs::write(path("empty"), "\n").unwrap();
    let loaded = env(&[("JWT_SECRET_FILE", &path("jwt"))]).unwrap();
    assert_eq!(row(&loaded, "JWT_SECRET").source, Source::File);
    assert!(loaded.config.jwt_secret.is_some() && loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let problems = env(&[
        ("JWT_SECRET", "0123456789abcdef0123456789abcdef"),
        ("JWT_SECRET_FILE", &path("jwt")),
        ("REDIS_URL_FILE", &path("missing")),
        ("METRICS_TOKEN_FILE", &path("empty")),
        ("DATABASE_URL_FILE", dir.path().to_str().unwrap()),
    ]);
    let said = lines(&problems.unwrap_err()).join("\n");
    for part in [
        "JWT_SECRET_FILE: is set beside JWT_SECRET",
        "missing, which can't be opened",
        "empty, which is empty",
        "which can't be read",
    ] {
        assert!(said.contains(part), "{part} is missing in: {said}");
    }
}

#[test]
fn a_ttl_that_no_lookup_would_take_is_a_problem_among_the_others() {
    let said = |endpoint: &str, ttl: &str| {
        let toml = format!("workers = 0\n[ttl]\n{endpoint} = \"{ttl}\"\n");
        let mut lines = lines(&read(&sources(&[], &[], "", &toml)).unwrap_err());
        assert!(lines.remove(0).starts_with("WORKERS: "), "{lines:?}");
        lines
    };
    for (endpoint, ttl, limit) in
        [("campaigns", "29d", None), ("campaigns", "30d", None), ("campaigns", "40d", Some("30d"))]
            .into_iter()
            .chain([("dashboard_kpis", "29d", None), ("dashboard_kpis", "30d", Some("29d"))])
            .chain([("products", "40d", Some("29d")), ("stats", "31d", Some("30d"))])
    {
        let lines = said(endpoint, ttl);
        let Some(limit) = limit else {
            assert!(lines.is_empty(), "{lines:?}");
            continue;
        };
        let [line] = &lines[..] else { panic!("one problem of {endpoint}: {lines:?}") };
        assert!(line.starts_with(&format!("ttl.{endpoint}: {ttl} (larder.toml)")), "{line}");
        assert!(line.contains("beyond the limit of 2592000s"), "{line}");
        assert!(line.ends_with(&format!("accepted: a duration up to {limit}")), "{line}");
    }
}

/// The names of what is wrong.
fn subjects(environment: &[(&str, &str)]) -> Vec<String> {
    let problems = env(environment).unwrap_err();
    lines(&problems).iter().map(|line| line.split(':').next().unwrap().to_owned()).collect()
}

#[test]
fn a_value_that_can_t_be_read_hides_no_contradiction_of_the_others() {
    let wrong = [("CACHE_MAX_VALUE_SIZE", "1gb"), ("COHERENCE_LEASE", "1ms"), ("ENV", "production")];
    assert_eq!(subjects(&wrong), ["COHERENCE_LEASE", "JWT_SECRET", "CACHE_MAX_VALUE_SIZE"]);
    // What stands in for a value that can't be read contradicts nothing.
    assert_eq!(subjects(&[("CACHE_MEMORY", "lots"), ("CACHE_MAX_VALUE_SIZE", "60mb")]), ["CACHE_MEMORY"]);
    assert_eq!(subjects(&[("REDIS_URL", "nowhere"), ("REDIS_MAXMEMORY", "2mb")]), ["REDIS_URL"]);
    assert!(env(&[("REDIS_URL", "nowhere"), ("REDIS_MAXMEMORY", "2mb")]).unwrap_err().warnings.is_empty());
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key.pem");
    std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\n").unwrap();
    let half = [
        ("REDIS_URL", "rediss://host"),
        ("REDIS_TLS_CERT", "/nowhere"),
        ("REDIS_TLS_KEY", key.to_str().unwrap()),
    ];
    assert_eq!(subjects(&half), ["REDIS_TLS_CERT"]);
}

#[test]
fn what_the_cache_would_refuse_is_refused_by_its_variable_before() {
    let wrong = [
        ("OUTAGE_MEMORY_TTL", "60d"),
        ("LOAD_TIMEOUT", "2h"),
        ("CACHE_TENANT_MEMORY", "1kb"),
        ("CACHE_MAX_VALUE_SIZE", "65mb"),
        ("CACHE_NAMESPACE", "a b"),
        ("CACHE_MEMORY", "1kb"),
    ];
    for one in wrong {
        assert_eq!(subjects(&[one]), [one.0]);
    }
    let lines = lines(&env(&wrong[..3]).unwrap_err());
    assert_eq!(
        lines,
        [
            "OUTAGE_MEMORY_TTL: \"60d\" (environment) is longer than 30d; accepted: a duration up to 30d, or 0",
            "LOAD_TIMEOUT: \"2h\" (environment) is longer than 1h; accepted: a duration up to 1h",
            "CACHE_TENANT_MEMORY: 1kb is less than CACHE_MAX_VALUE_SIZE, 1mb; accepted: from 1mb to 256mb",
        ]
    );
    let more = env(&[("CACHE_TENANT_MEMORY", "257mb")]).unwrap_err();
    assert!(more.to_string().contains("257mb is more than CACHE_MEMORY, 256mb"), "{more}");
    assert!(
        env(&[("CACHE_TENANT_MEMORY", "1mb"), ("OUTAGE_MEMORY_TTL", "30d"), ("LOAD_TIMEOUT", "1h")]).is_ok()
    );
}
