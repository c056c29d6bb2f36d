//! Which of the rows that were read may be published now.

use crate::row::{Row, Whose};
use std::collections::{HashMap, HashSet};

/// What is to be done with a page.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Rows of each tenant, in their order.
    pub(super) ready: Vec<(Whose, Vec<Row>)>,
    /// Tenants whose first row somebody else is about to publish: those after it must not overtake it.
    pub(super) held: Vec<Whose>,
    /// Rows that are nobody's, with what is wrong.
    pub(super) nobodys: Vec<(i64, String)>,
}

/// Divides rows, which come in their order. `is_claimed` tells those that this process publishes by itself.
pub(super) fn plan(rows: Vec<Row>, is_claimed: impl Fn(i64) -> bool, most: usize) -> Plan {
    let mut plan = Plan::default();
    let mut places: HashMap<Whose, usize> = HashMap::new();
    let mut closed: HashSet<Whose> = HashSet::new();
    for row in rows {
        let Some(whose) = row.whose.clone() else {
            plan.nobodys.push((row.id, row.content.err().unwrap_or_else(|| "it is nobody's".to_owned())));
            continue;
        };
        if closed.contains(&whose) {
            continue;
        }
        if row.held || is_claimed(row.id) {
            closed.insert(whose.clone());
            if !places.contains_key(&whose) {
                plan.held.push(whose);
            }
            continue;
        }
        match places.get(&whose) {
            Some(place) => plan.ready[*place].1.push(row),
            None if plan.ready.len() < most => {
                places.insert(whose.clone(), plan.ready.len());
                plan.ready.push((whose, vec![row]));
            }
            None => {}
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, tenant: &str, held: bool) -> Row {
        Row { id, held, whose: Some(tenant.into()), content: Err("no content".to_owned()) }
    }

    fn ids(plan: &Plan) -> Vec<Vec<i64>> {
        plan.ready.iter().map(|(_, rows)| rows.iter().map(|row| row.id).collect()).collect()
    }

    #[test]
    fn rows_of_a_tenant_keep_their_order_and_tenants_are_apart() {
        let rows = vec![row(1, "a", false), row(2, "b", false), row(3, "a", false)];
        assert_eq!(ids(&plan(rows, |_| false, 9)), [vec![1, 3], vec![2]]);
    }

    #[test]
    fn nothing_overtakes_a_row_that_somebody_is_about_to_publish() {
        let rows = || {
            vec![
                row(1, "a", true),
                row(2, "a", false),
                row(3, "b", false),
                row(4, "b", true),
                row(5, "b", false),
            ]
        };
        let held = plan(rows(), |_| false, 9);
        assert_eq!(ids(&held), [vec![3]]);
        assert_eq!(held.held, ["a".into()]);
        let claimed = plan(rows(), |id| id == 3, 9);
        assert!(ids(&claimed).is_empty());
    }

    #[test]
    fn a_row_that_is_nobodys_stands_in_nobodys_way() {
        let mut rows = vec![row(1, "a", false), row(2, "a", false)];
        rows[0].whose = None;
        let plan = plan(rows, |_| false, 9);
        assert_eq!(plan.nobodys, [(1, "no content".to_owned())]);
        assert_eq!(ids(&plan), [vec![2]]);
    }

    #[test]
    fn no_more_tenants_than_there_is_room_for() {
        let rows = vec![row(1, "a", false), row(2, "b", false), row(3, "a", false)];
        assert_eq!(ids(&plan(rows, |_| false, 1)), [vec![1, 3]]);
    }
}
