//! The room on the screen, dealt out.

/// How many lines each part gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) title: u16,
    pub(super) banner: u16,
    pub(super) totals: u16,
    pub(super) rate: u16,
    pub(super) board: u16,
    pub(super) legend: u16,
    pub(super) gap: u16,
    pub(super) foot: u16,
}

impl Parts {
    /// Deals out the height, the most needed part first. The table gets what is left.
    pub(super) fn of(height: u16, banner: u16, board: u16) -> Parts {
        let mut left = height;
        let mut take = |wanted: u16| {
            let given = wanted.min(left);
            left -= given;
            given
        };
        let title = take(1);
        // The heading of the table and a row.
        take(2);
        let banner = take(banner);
        let foot = take(1);
        let first_of_board = take(board.min(1));
        let totals = take(1);
        let legend = take(board.min(1));
        let rate = take(1);
        // A few children more on the screen are worth more than what follows.
        take(6);
        let gap = take(1);
        let more_of_board = take((board - first_of_board).min(height / 5));
        let board = first_of_board + more_of_board;
        Parts { title, banner, totals, rate, board, legend, gap, foot }
    }
}
