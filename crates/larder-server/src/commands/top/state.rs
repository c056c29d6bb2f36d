//! What is on the screen, and what keys do to it.

use std::collections::VecDeque;
use std::time::Instant;

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::endpoints::Order;
use super::figures::harmless;
use super::overview::{Overview, Rates};

/// Seconds that the curves remember: more than any terminal is wide.
const HISTORY: usize = 512;

/// What a key comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    GoOn,
    Quit,
}

/// One second of the curves; `None` where there was no lookup.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Second {
    pub(super) memory: Option<f64>,
    pub(super) redis: Option<f64>,
    pub(super) stale: Option<f64>,
    pub(super) missed: Option<f64>,
    pub(super) lookups: f64,
    pub(super) loads: f64,
}

impl Second {
    fn of(rates: &Rates) -> Self {
        let share = |part: f64| (rates.lookups_per_s > 0.0).then(|| part / rates.lookups_per_s);
        Self {
            memory: share(rates.l1_hits_per_s),
            redis: share(rates.l2_hits_per_s),
            stale: share(rates.stale_hits_per_s),
            missed: share(rates.misses_per_s),
            lookups: rates.lookups_per_s,
            loads: rates.loads_per_s,
        }
    }
}

/// Why nothing comes.
pub(super) struct Lost {
    pub(super) why: String,
    pub(super) again: Instant,
    pub(super) since: Instant,
}

pub(super) struct State {
    pub(super) url: String,
    pub(super) latest: Overview,
    pub(super) lost: Option<Lost>,
    pub(super) seconds: VecDeque<Second>,
    pub(super) order: Order,
    pub(super) reversed: bool,
    /// Endpoints that are scrolled away.
    pub(super) above: usize,
    pub(super) help: bool,
}

impl State {
    pub(super) fn new(url: String, first: Overview) -> Self {
        let url = harmless(url.trim_end_matches('/'));
        let (latest, seconds) = (Overview::default(), VecDeque::new());
        let mut state = Self {
            url,
            latest,
            lost: None,
            seconds,
            order: Order::Loads,
            reversed: false,
            above: 0,
            help: false,
        };
        state.take(first);
        state
    }

    pub(super) fn take(&mut self, overview: Overview) {
        if let Some(rates) = &overview.now {
            if self.seconds.len() == HISTORY {
                self.seconds.pop_front();
            }
            self.seconds.push_back(Second::of(rates));
        }
        self.latest = overview;
        self.lost = None;
    }

    pub(super) fn lose(&mut self, why: String, again: Instant) {
        let since = self.lost.as_ref().map_or_else(Instant::now, |lost| lost.since);
        self.lost = Some(Lost { why: harmless(&why), again, since });
    }

    pub(super) fn handle(&mut self, event: &Event) -> After {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.press(*key),
            // Whatever else there is, such as another size, is a reason to draw.
            _ => After::GoOn,
        }
    }

    fn press(&mut self, key: KeyEvent) -> After {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'd') if control => return After::Quit,
            KeyCode::Esc if self.help => self.help = false,
            KeyCode::Char('q') | KeyCode::Esc => return After::Quit,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = !self.help,
            KeyCode::Char('r') => self.reversed = !self.reversed,
            KeyCode::Tab | KeyCode::Char('s') => self.sort_by(self.order.next()),
            KeyCode::Down | KeyCode::Char('j') => self.above = (self.above + 1).min(self.last()),
            KeyCode::Up | KeyCode::Char('k') => self.above = self.above.saturating_sub(1),
            KeyCode::Home => self.above = 0,
            KeyCode::Char(letter) => {
                if let Some(order) = Order::of_letter(letter) {
                    self.sort_by(order);
                }
            }
            _ => {}
        }
        After::GoOn
    }

    fn sort_by(&mut self, order: Order) {
        (self.order, self.reversed, self.above) = (order, false, 0);
    }

    fn last(&self) -> usize {
        self.latest.endpoints.len().saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode) -> Event {
        Event::Key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn state() -> State {
        State::new("http://127.0.0.1:8000/".to_owned(), Overview::default())
    }

    #[test]
    fn q_escape_and_control_c_end_it() {
        let control_c = Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
        for event in [key(KeyCode::Char('q')), key(KeyCode::Esc), control_c] {
            assert_eq!(state().handle(&event), After::Quit, "{event:?}");
        }
        assert_eq!(state().handle(&key(KeyCode::Char('c'))), After::GoOn);
        assert_eq!(state().handle(&Event::Resize(40, 10)), After::GoOn);
    }

    #[test]
    fn escape_closes_the_help_first() {
        let mut state = state();
        state.handle(&key(KeyCode::Char('?')));
        assert!(state.help);
        assert_eq!(state.handle(&key(KeyCode::Esc)), After::GoOn);
        assert!(!state.help);
    }

    #[test]
    fn letters_sort_and_r_turns_the_order_round() {
        let mut state = state();
        for (letter, order) in
            [('t', Order::Time), ('m', Order::Misses), ('n', Order::Name), ('l', Order::Loads)]
        {
            state.handle(&key(KeyCode::Char(letter)));
            assert_eq!(state.order, order);
        }
        state.handle(&key(KeyCode::Char('r')));
        assert!(state.reversed);
        state.handle(&key(KeyCode::Tab));
        assert!(!state.reversed && state.order != Order::Loads);
        state.handle(&key(KeyCode::Char('z')));
        state.handle(&key(KeyCode::Down));
        assert_eq!(state.above, 0, "there is nothing to scroll");
    }

    #[test]
    fn the_curves_forget_and_a_second_without_lookups_is_none_of_zero_hits() {
        let mut state = state();
        let rates = |lookups| {
            let now =
                Some(Rates { lookups_per_s: lookups, l1_hits_per_s: lookups / 2.0, ..Rates::default() });
            Overview { now, ..Overview::default() }
        };
        state.take(rates(0.0));
        state.take(rates(8.0));
        assert_eq!((state.seconds[0].memory, state.seconds[1].memory), (None, Some(0.5)));
        (0..2 * HISTORY).for_each(|_| state.take(rates(1.0)));
        assert_eq!(state.seconds.len(), HISTORY);
    }

    #[test]
    fn who_is_lost_stays_so_until_something_comes() {
        let mut state = state();
        state.lose("away".to_owned(), Instant::now());
        let since = state.lost.as_ref().unwrap().since;
        state.lose("still \x1b[31maway".to_owned(), Instant::now());
        let lost = state.lost.as_ref().unwrap();
        assert_eq!((lost.since, lost.why.contains('\x1b')), (since, false));
        state.take(Overview::default());
        assert!(state.lost.is_none());
    }
}
