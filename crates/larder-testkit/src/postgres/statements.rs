//! The statements that a server was sent: loads counted where they arrive.

use super::PostgresServer;

impl PostgresServer {
    /// Every statement that was run in the database of `url`, in order, as it was sent (placeholders as `$1`). The server logs a statement
    /// before it runs it, so who has seen its answer finds it here.
    #[must_use]
    pub fn statements(&self, url: &str) -> Vec<String> {
        let database = url.rsplit('/').next().unwrap_or_default();
        let database = database.split('?').next().unwrap_or_default();
        parse(&self.log(), database)
    }

    /// How many statements of the database begin with `SELECT` (or `WITH`) and contain `text`, whatever the case.
    #[must_use]
    pub fn selects(&self, url: &str, text: &str) -> usize {
        let text = text.to_lowercase();
        let wanted = |statement: &String| {
            let statement = statement.trim_start().to_lowercase();
            (statement.starts_with("select") || statement.starts_with("with")) && statement.contains(&text)
        };
        self.statements(url).iter().filter(|statement| wanted(statement)).count()
    }
}

fn parse(log: &str, database: &str) -> Vec<String> {
    let entries =
        log.split("~larder~").filter_map(|entry| entry.strip_prefix(database)?.strip_prefix("~LOG:  "));
    entries.filter_map(statement).map(|statement| statement.trim_end().to_owned()).collect()
}

/// `statement: …` from a simple query, `execute <name>: …` from a prepared one.
fn statement(entry: &str) -> Option<&str> {
    if let Some(statement) = entry.strip_prefix("statement: ") {
        return Some(statement);
    }
    let (_name, statement) = entry.strip_prefix("execute ")?.split_once(": ")?;
    Some(statement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_of_one_database_are_read_from_the_log() {
        let log = "~larder~~LOG:  database system is ready\n\
                   ~larder~test_1~LOG:  statement: SELECT 1\n\
                   ~larder~test_1~LOG:  execute sqlx_s_1: SELECT a,\n\tb FROM t WHERE c = $1\n\
                   ~larder~test_1~DETAIL:  parameters: $1 = 'execute x: SELECT 9'\n\
                   ~larder~test_10~LOG:  statement: SELECT 2\n\
                   ~larder~test_1~LOG:  execute <unnamed>: BEGIN\n";
        assert_eq!(parse(log, "test_1"), ["SELECT 1", "SELECT a,\n\tb FROM t WHERE c = $1", "BEGIN"]);
        assert_eq!(parse(log, "test_10"), ["SELECT 2"]);
    }
}
