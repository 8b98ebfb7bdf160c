//! Progress drawn in place on a terminal; what ended leaves one line behind.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    board::{Board, Row},
    model, plain,
};
use crate::{output::Output, text};

/// Bars on the screen at most; the rest is counted on one line.
const VISIBLE: usize = 10;

/// Draws bars. Everything is redrawn on a tick of the caller's, no thread is started.
pub struct Screen {
    out: Output,
    area: MultiProgress,
    bars: Vec<Option<ProgressBar>>,
    rest: Option<ProgressBar>,
    ended: Vec<bool>,
}

impl Screen {
    /// Starts with an empty screen.
    pub fn new(out: Output, rows: usize) -> Self {
        Self {
            out,
            area: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            bars: vec![None; rows],
            rest: None,
            ended: vec![false; rows],
        }
    }

    /// Shows a row; one that has ended leaves its last line and frees its place.
    pub fn show(&mut self, number: usize, row: &Row) {
        if row.end.is_some() {
            if std::mem::replace(&mut self.ended[number], true) {
                return;
            }
            if let Some(bar) = self.bars[number].take() {
                bar.finish_and_clear();
                self.area.remove(&bar);
            }
            let line = plain::last_line(row, crate::clock::now(), self.out);
            self.print(&line);
            for line in row.epilogue() {
                self.print(&format!("  {line}"));
            }
            return;
        }
        let visible = self.bars.iter().flatten().count();
        if self.bars[number].is_none() && visible < VISIBLE {
            let bar = self.area.add(ProgressBar::new(100));
            self.bars[number] = Some(bar);
        }
        if let Some(bar) = &self.bars[number] {
            draw(bar, row);
        }
    }

    /// Says something that is about no job in particular.
    pub fn say(&self, text: &str) {
        self.print(text);
    }

    /// Moves spinners and clocks.
    pub fn tick(&mut self, board: &Board) {
        for (number, row) in board.rows.iter().enumerate() {
            if row.end.is_none() {
                self.show(number, row);
            }
        }
        for bar in self.bars.iter().flatten() {
            bar.tick();
        }
        let hidden = board
            .rows
            .iter()
            .zip(&self.bars)
            .filter(|(row, bar)| row.end.is_none() && bar.is_none())
            .count();
        match (&self.rest, hidden) {
            (Some(rest), 0) => {
                rest.finish_and_clear();
                self.rest = None;
            }
            (Some(rest), _) => rest.set_message(format!("  and {hidden} more")),
            (None, 0) => {}
            (None, _) => {
                let rest = self.area.add(ProgressBar::new_spinner());
                rest.set_style(style("{wide_msg}"));
                rest.set_message(format!("  and {hidden} more"));
                self.rest = Some(rest);
            }
        }
    }

    /// Leaves the terminal as it was found, with what has ended on it.
    pub fn close(&self) {
        // A terminal that cannot be cleared is gone.
        let _ = self.area.clear();
    }

    fn print(&self, line: &str) {
        self.area.suspend(|| self.out.warn(line));
    }
}

fn draw(bar: &ProgressBar, row: &Row) {
    let progress = row.job.as_ref().and_then(|job| job.progress.as_ref());
    let mut words = vec![row.word().to_owned()];
    words.extend(row.job.as_ref().and_then(model::step));
    words.extend(row.elapsed(crate::clock::now()).map(text::duration));
    if row.lost {
        words.push("reconnecting".to_owned());
    }
    if let Some(progress) = progress {
        bar.set_style(style("{spinner} {prefix}  {bar:20}  {pos:>3}%  {wide_msg}"));
        bar.set_position(u64::from(progress.percent.min(100)));
    } else {
        bar.set_style(style("{spinner} {prefix}  {wide_msg}"));
    }
    bar.set_prefix(row.name());
    bar.set_message(words.join("  "));
}

/// Returns a style; a template that cannot be read is replaced by the library's own.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .tick_strings(&["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", " "])
        .progress_chars("━╸─")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_valid() {
        for template in [
            "{wide_msg}",
            "{spinner} {prefix}  {wide_msg}",
            "{spinner} {prefix}  {bar:20}  {pos:>3}%  {wide_msg}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
