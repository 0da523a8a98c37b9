//! Columns of listings that declarations choose: variables of their deployments.

use std::collections::BTreeMap;

use crate::environment::Environment;
use crate::model::Service;

/// Returns the values of the variables that a service lists under `display`.
pub(crate) fn values(service: &Service, environment: &Environment) -> BTreeMap<String, String> {
    let value = |name: &String| Some((name.clone(), environment.variables.get(name)?.clone()));
    service.display.iter().filter_map(value).collect()
}

/// Returns the columns of a listing: the variables that any of its rows has, sorted by name.
pub(crate) fn columns<'a>(rows: impl Iterator<Item = &'a BTreeMap<String, String>>) -> Vec<&'a str> {
    let mut columns: Vec<_> = rows.flat_map(BTreeMap::keys).map(String::as_str).collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// Returns the cells of a row for these columns, each in one line.
pub(crate) fn cells(columns: &[&str], row: &BTreeMap<String, String>) -> Vec<String> {
    let cell = |column: &&str| row.get(*column).map_or_else(|| "-".to_owned(), |value| value.replace('\n', " "));
    columns.iter().map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_a_cell_below_every_column() {
        let row =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let rows: [BTreeMap<String, String>; 3] =
            [row(&[("VERSION", "2"), ("COLOR", "light\nblue")]), row(&[("VERSION", "1")]), row(&[])];
        let columns = columns(rows.iter());
        assert_eq!(columns, ["COLOR", "VERSION"]);
        let cells: Vec<_> = rows.iter().map(|row| cells(&columns, row).join("|")).collect();
        assert_eq!(cells, ["light blue|2", "-|1", "-|-"]);
    }
}
