//! Columns, as Heroku's tools print them.

/// Rows with their columns two blanks apart; the last one is not padded.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let mut lines = Vec::with_capacity(rows.len());
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if column + 1 < row.len() {
                let missing = width(column) - cell.chars().count();
                line.extend(std::iter::repeat_n(' ', missing + 2));
            }
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// `name:  value` lines with the values below each other.
pub(crate) fn properties(pairs: &[(&str, &str)]) -> String {
    let longest = pairs
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    let lines: Vec<String> = pairs
        .iter()
        .map(|(name, value)| {
            let line = format!(
                "{:<width$} {value}",
                format!("{name}:"),
                width = longest + 1
            );
            line.trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_below_each_other() {
        assert_eq!(
            properties(&[("A", "1"), ("LONGER", "ü"), ("NO", "")]),
            "A:      1\nLONGER: ü\nNO:"
        );
        assert_eq!(properties(&[]), "");
    }

    #[test]
    fn columns_are_as_wide_as_they_have_to_be() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        assert_eq!(
            columns(&[row(["v10", "ä", "x"]), row(["v9", "longer", "y"])]),
            "v10  ä       x\nv9   longer  y"
        );
    }
}
