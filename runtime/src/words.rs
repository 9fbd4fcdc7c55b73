//! Numbers of things in messages. Does not know what is counted.

/// A number of things as a sentence has it: `1 tensor`, `2 tensors`, `2 classes`.
pub fn count(n: u64, thing: &str) -> String {
    let ending = match n {
        1 => "",
        _ if thing.ends_with("ss") => "es",
        _ => "s",
    };
    format!("{n} {thing}{ending}")
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn things_are_counted_as_people_do() {
        let all = ["input", "class"];
        for (n, counted) in [
            (0, ["0 inputs", "0 classes"]),
            (1, ["1 input", "1 class"]),
            (2, ["2 inputs", "2 classes"]),
        ] {
            assert_eq!(all.map(|thing| count(n, thing)), counted);
        }
    }
}
