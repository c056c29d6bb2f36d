//! The words that sample rows are made of.

/// Given names.
pub(super) const GIVEN: &[&str] = &[
    "Ada", "Amir", "Ana", "Bo", "Chidi", "Clara", "Dmitri", "Elena", "Farah", "Grace", "Hana", "Ivan",
    "Jonas", "Kofi", "Lena", "Mei", "Noor", "Omar", "Priya", "Rosa", "Sven", "Tomás", "Uma", "Wei", "Yara",
    "Zoë",
];
/// Family names.
pub(super) const FAMILY: &[&str] = &[
    "Abara", "Baker", "Chen", "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad", "Ito", "Jensen",
    "Kowalski", "Lopez", "Moreau", "Nakamura", "Okafor", "Petrov", "Quinn", "Rossi", "Silva", "Tanaka",
    "Usman", "Virtanen", "Weber", "Yilmaz",
];
/// What campaigns are about.
pub(super) const OCCASIONS: &[&str] = &[
    "Spring sale",
    "Summer launch",
    "Back to school",
    "Black Friday",
    "Winter clearance",
    "Loyalty",
    "Referral",
    "Webinar",
    "Product update",
    "Win-back",
    "Onboarding",
    "Anniversary",
];
/// Whom they are for.
pub(super) const AUDIENCES: &[&str] =
    &["new customers", "regulars", "newsletter readers", "trial users", "partners", "students", "enterprise"];
/// Who reports threats; the first ones report most.
pub(super) const SOURCES: &[&str] = &[
    "abuse-feed",
    "honeynet",
    "dns-watch",
    "mail-gateway",
    "sandbox",
    "partner-exchange",
    "community",
    "red-team",
];
/// Kinds of threats.
pub(super) const THREATS: &[&str] = &[
    "Phishing page",
    "Credential stuffing",
    "Botnet beacon",
    "Ransomware sample",
    "Malicious macro",
    "Exposed database",
    "Brute force",
    "Domain squatting",
    "Data leak",
    "Exploit attempt",
];
/// What they aim at.
pub(super) const TARGETS: &[&str] = &[
    "a bank",
    "webmail users",
    "a hospital",
    "a parcel service",
    "VPN gateways",
    "a CMS plugin",
    "a game shop",
    "industrial controllers",
    "a university",
];
/// What people do.
pub(super) const HEADLINES: &[&str] = &[
    "Backend engineer",
    "Product designer",
    "Data analyst",
    "Engineering manager",
    "Site reliability engineer",
    "Recruiter",
    "Technical writer",
    "Security researcher",
    "Mobile developer",
    "Founder",
];
/// How posts begin.
pub(super) const OPENINGS: &[&str] = &[
    "Today I learned that",
    "After ten years I am sure that",
    "Hot take:",
    "Our team found out that",
    "A reminder:",
    "I was wrong about this:",
    "Small win:",
];
/// How they go on.
pub(super) const INSIGHTS: &[&str] = &[
    "the second hard thing is naming",
    "a cache without invalidation is a bug with a timer",
    "deleting code is the best refactoring",
    "one good test replaces a week of arguing",
    "the query was slow because nobody had asked for the index",
    "meetings expand to fill the calendar",
    "documentation is a feature",
    "p99 is where the customers live",
];
/// Trades of jobs.
pub(super) const CATEGORIES: &[&str] =
    &["Engineering", "Design", "Data", "Operations", "Security", "Marketing", "Sales", "Support"];
/// Where jobs are.
pub(super) const LOCATIONS: &[&str] = &[
    "Berlin",
    "Lagos",
    "Lisbon",
    "London",
    "Nairobi",
    "New York",
    "Osaka",
    "Remote",
    "São Paulo",
    "Toronto",
];
/// Who offers them.
pub(super) const COMPANIES: &[&str] =
    &["Northwind", "Initech", "Umbra Labs", "Hooli", "Stark & Sons", "Blue Harbor", "Papaya", "Tideway"];
/// What is for sale.
pub(super) const PRODUCTS: &[&str] = &[
    "Kettle",
    "Desk lamp",
    "Backpack",
    "Headphones",
    "Notebook",
    "Water bottle",
    "Keyboard",
    "Yoga mat",
    "Coffee grinder",
    "Umbrella",
    "Monitor arm",
    "Travel mug",
];
/// Which kind of it.
pub(super) const MAKES: &[&str] = &["Classic", "Pro", "Mini", "Eco", "Studio", "Travel"];
/// Shelves of the shop.
pub(super) const SHELVES: &[&str] = &["Home", "Office", "Travel", "Sport", "Audio"];
