use super::scenarios;
use conductor_machine::machine::Machine;
scenarios!("faults": first_fails);
fn first_fails(_: &mut Machine) {}
