//! Progress with the time left, on standard error: a bar in a terminal, elsewhere a line now and then.

use std::fmt::{Debug, Formatter};
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{
    HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike,
};

/// From line to line in the log of a job.
const PAUSE: Duration = Duration::from_mins(1);
/// Such a line.
const LINE: &str = "{prefix}: {pos} of {len} in {elapsed}, {left} left; {msg}";

/// Progress over `total` steps, named after the work.
pub fn bar(name: &str, total: u64) -> ProgressBar {
    bar_from(name, total, 0)
}

/// The same where so many steps were done before.
pub fn bar_from(name: &str, total: u64, done: u64) -> ProgressBar {
    let (target, template) = if io::stderr().is_terminal() {
        let template = "{prefix:>12} {bar:24} {pos}/{len} [{elapsed} < {left}] {wide_msg}";
        (ProgressDrawTarget::stderr(), template)
    } else {
        (Log::target(PAUSE, Box::new(io::stderr())), LINE)
    };
    with(target, template, name, total, done)
}

fn with(
    target: ProgressDrawTarget,
    template: &str,
    name: &str,
    total: u64,
    done: u64,
) -> ProgressBar {
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let left = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let steps =
            [state.pos().saturating_sub(done), state.len().unwrap_or(0).saturating_sub(done)];
        let text = match time_left(state.elapsed(), steps) {
            None => "?".into(),
            Some(left) => format!("{:#}", HumanDuration(left)),
        };
        out.write_str(&text).unwrap_or_default();
    };
    let style = style.with_key("left", left);
    let progress = ProgressBar::with_draw_target(Some(total), target).with_position(done);
    progress.with_style(style).with_prefix(name.to_string())
}

/// The time left after so many steps of so many, which nobody knows before the first one. Each is held
/// to take as long as the mean of those before: indicatif's own estimate goes by the latest second or
/// so, and where a step takes a minute it goes up to weeks.
fn time_left(elapsed: Duration, [done, of]: [u64; 2]) -> Option<Duration> {
    let left = of.saturating_sub(done) as f64;
    (done > 0).then(|| elapsed.mul_f64(left / done as f64))
}

/// What is no terminal: of all that would be drawn a line is written after each pause.
struct Log {
    pause: Duration,
    state: Mutex<LogState>,
}

struct LogState {
    drawn: String,
    written: Instant,
    out: Box<dyn Write + Send>,
}

impl Log {
    fn target(pause: Duration, out: Box<dyn Write + Send>) -> ProgressDrawTarget {
        let state = LogState { drawn: String::new(), written: Instant::now(), out };
        ProgressDrawTarget::term_like_with_hz(Box::new(Self { pause, state: state.into() }), 1)
    }

    fn with<T>(&self, act: impl FnOnce(&mut LogState) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Debug for Log {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("pause", &self.pause).finish_non_exhaustive()
    }
}

impl TermLike for Log {
    fn width(&self) -> u16 {
        u16::MAX
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.with(|state| state.drawn.push_str(text));
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.with(|state| state.drawn.clear());
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.with(|state| {
            let drawn = std::mem::take(&mut state.drawn);
            let line = drawn.trim_end();
            if line.is_empty() || state.written.elapsed() < self.pause {
                return Ok(());
            }
            state.written = Instant::now();
            writeln!(state.out, "{line}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(pause: Duration) -> String {
        let out = Shared::default();
        let progress = with(Log::target(pause, Box::new(out.clone())), LINE, "train", 4, 0);
        progress.set_message("loss 0.5");
        progress.inc(1);
        progress.force_draw();
        progress.finish_and_clear();
        let bytes = out.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_log_gets_whole_lines_and_not_too_many() {
        let text = logged(Duration::ZERO);
        assert!(text.lines().count() > 0, "nothing was written");
        for line in text.lines() {
            assert!(line.starts_with("train: ") && line.contains(" of 4 in "), "{line}");
        }
        assert!(text.contains("train: 1 of 4 in 0s") && text.contains("loss 0.5"), "{text}");
        assert!(text.starts_with("train: 0 of 4 in 0s, ? left"), "{text}");
        assert_eq!(logged(PAUSE), "");
    }

    #[test]
    fn the_time_left_follows_from_the_mean_of_the_steps_done() {
        let minute = Duration::from_mins(1);
        assert_eq!(time_left(minute, [0, 4]), None);
        assert_eq!(time_left(minute, [1, 4]), Some(3 * minute));
        assert_eq!(time_left(minute, [4, 4]), Some(Duration::ZERO));
        // Of eight steps four were done before this process began.
        let out = Shared::default();
        let target = Log::target(Duration::ZERO, Box::new(out.clone()));
        let progress = with(target, LINE, "train", 8, 4);
        progress.force_draw();
        progress.inc(4);
        progress.force_draw();
        progress.finish_and_clear();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("train: 4 of 8 in 0s, ? left"), "{text}");
        assert!(text.contains("train: 8 of 8 in 0s, 0s left"), "{text}");
    }
}
