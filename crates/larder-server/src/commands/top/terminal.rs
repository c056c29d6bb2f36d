//! The terminal: taken over, given back however this ends, and read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};
use ratatui::{DefaultTerminal, Frame};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::failure::Failure;

/// How soon the thread that reads keys sees that nobody wants them any more.
const PATIENCE: Duration = Duration::from_millis(100);

/// The terminal as ours: the other screen, without echo. Dropped, it is the person's again; a panic gives it back before
/// it is told.
pub(super) struct Screen(DefaultTerminal);

impl Screen {
    pub(super) fn begin() -> Result<Self, Failure> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                ratatui::restore();
                let hint = "larder top --once needs no terminal";
                Err(Failure::new(format!("the terminal can't be used: {error}")).hint(hint))
            }
        }
    }

    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> Result<(), Failure> {
        let drawn = self.0.draw(draw);
        drawn.map(drop).map_err(|error| Failure::new(format!("the terminal can't be written: {error}")))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Keys and sizes, read by a thread of its own, and the signals that end us.
pub(super) struct Input {
    events: UnboundedReceiver<Event>,
    signals: [Signal; 3],
    over: Arc<AtomicBool>,
}

impl Input {
    pub(super) fn begin() -> Result<Self, Failure> {
        let catch =
            |kind| signal(kind).map_err(|error| Failure::new(format!("signals can't be caught: {error}")));
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        let [terminate, interrupt, hangup] = kinds.map(catch);
        let over = Arc::new(AtomicBool::new(false));
        // Nobody types faster than it is drawn.
        let (sender, events) = unbounded_channel();
        let done = Arc::clone(&over);
        std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                match event::poll(PATIENCE) {
                    Ok(false) => {}
                    Ok(true) => {
                        let Ok(event) = event::read() else { return };
                        if sender.send(event).is_err() {
                            return;
                        }
                    }
                    Err(_) => return,
                }
            }
        });
        Ok(Self { events, signals: [terminate?, interrupt?, hangup?], over })
    }

    /// The next; `None`: there is no terminal any more, or a signal came.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let [terminate, interrupt, hangup] = &mut self.signals;
        tokio::select! {
            event = self.events.recv() => event,
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
            _ = hangup.recv() => None,
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Run by the next test, within a terminal of its own.
    #[test]
    #[ignore = "it needs a terminal, and panics"]
    fn panics_while_it_has_the_terminal() {
        let mut screen = Screen::begin().unwrap();
        screen.draw(|frame| frame.render_widget("drawn", frame.area())).unwrap();
        panic!("as planned");
    }

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_told() {
        let this = std::env::current_exe().unwrap();
        let name = "commands::top::terminal::tests::panics_while_it_has_the_terminal";
        let within = format!(
            "stty cols 80 rows 24; '{}' --ignored --exact --nocapture {name}; stty -a",
            this.display()
        );
        // `script` gives it a terminal.
        let mut script = std::process::Command::new("script");
        let output =
            script.args(["-qec", &within, "/dev/null"]).stdin(std::process::Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what:?} in {text:?}"));
        // The other screen is taken, drawn on and left; then comes the panic's message.
        assert!(at("\x1b[?1049h") < at("drawn") && at("drawn") < at("\x1b[?1049l"), "{text:?}");
        assert!(at("\x1b[?1049l") < at("as planned"), "{text:?}");
        let after = &text[at("as planned")..];
        assert!(
            after.contains(" icanon") && after.contains(" echo ") && after.contains("1 failed"),
            "{text:?}"
        );
    }
}
