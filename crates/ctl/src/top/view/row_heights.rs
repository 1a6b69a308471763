//! The heights of the parts of the live screen.

/// The number of lines of each part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RowHeights {
    pub(super) title: u16,
    pub(super) banner: u16,
    pub(super) totals: u16,
    pub(super) rate: u16,
    pub(super) board: u16,
    pub(super) legend: u16,
    pub(super) gap: u16,
    pub(super) foot: u16,
}

impl RowHeights {
    /// Allocates the height of the screen to the parts, to the most important part first. The table
    /// of children gets the rest.
    pub(super) fn allocate(height: u16, banner: u16, board: u16) -> RowHeights {
        let mut left = height;
        let mut take = |wanted: u16| {
            let given = wanted.min(left);
            left -= given;
            given
        };
        let title = take(1);
        // Reserve two lines for the table: its heading and one row.
        take(2);
        let banner = take(banner);
        let foot = take(1);
        let first_of_board = take(board.min(1));
        let totals = take(1);
        let legend = take(board.min(1));
        let rate = take(1);
        // Reserve six more rows for the table, because they are more important than the gap and the
        // scoreboard's lines after the first.
        take(6);
        let gap = take(1);
        let more_of_board = take((board - first_of_board).min(height / 5));
        let board = first_of_board + more_of_board;
        RowHeights { title, banner, totals, rate, board, legend, gap, foot }
    }
}
