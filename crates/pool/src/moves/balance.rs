//! Balance: who gives how many clients to whom, so that all have as many.

use super::Place;

/// So many clients that one worker gives to another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Gift {
    /// Who gives them.
    pub from: Place,
    /// Who gets them.
    pub to: Place,
    /// How many.
    pub count: u32,
}

/// The gifts after which no worker has more than one client more than another.
///
/// No client moves that does not have to: where the numbers do not come out
/// even, those have one more that have most already.
pub fn even_out(clients: impl IntoIterator<Item = (Place, u32)>) -> Vec<Gift> {
    let mut clients: Vec<(Place, u32)> = clients.into_iter().collect();
    clients.sort_unstable_by_key(|(place, count)| (std::cmp::Reverse(*count), *place));
    let Ok(workers @ 1..) = u64::try_from(clients.len()) else {
        return Vec::new();
    };
    let total: u64 = clients.iter().map(|(_, count)| u64::from(*count)).sum();
    let share = |at: usize| {
        let more = (at as u64) < total % workers;
        u32::try_from(total / workers + u64::from(more)).unwrap_or(u32::MAX)
    };
    let shares = clients.iter().enumerate();
    let shares = shares.map(|(at, (place, count))| (*place, *count, share(at)));
    let (above, rest): (Vec<_>, Vec<_>) = shares.partition(|(_, count, share)| count > share);
    let mut below = rest
        .into_iter()
        .map(|(place, count, share)| (place, share - count));
    let mut gifts = Vec::new();
    let mut getting = below.next();
    for (from, count, share) in above {
        let mut left = count - share;
        while left > 0
            && let Some((to, wants)) = &mut getting
        {
            let count = left.min(*wants);
            if count > 0 {
                let to = *to;
                gifts.push(Gift { from, to, count });
            }
            left -= count;
            *wants -= count;
            if *wants == 0 {
                getting = below.next();
            }
        }
    }
    gifts
}

#[cfg(test)]
mod tests {
    use pgskein_protocol::key::Slot;
    use proptest::prelude::*;

    use super::*;

    fn place(number: u8) -> Place {
        Place {
            slot: Slot::new(number).unwrap(),
            generation: 1,
        }
    }

    fn gifts(counts: &[u32]) -> Vec<(u8, u8, u32)> {
        let clients = (1..).map(place).zip(counts.iter().copied());
        let number = |place: Place| place.slot.get();
        let gifts = even_out(clients).into_iter();
        gifts
            .map(|gift| (number(gift.from), number(gift.to), gift.count))
            .collect()
    }

    #[test]
    fn gives_from_those_above_the_mean_to_those_below() {
        assert_eq!(gifts(&[10, 0]), [(1, 2, 5)]);
        assert_eq!(gifts(&[0, 12, 0]), [(2, 1, 4), (2, 3, 4)]);
        assert_eq!(gifts(&[7, 5, 0]), [(1, 3, 3), (2, 3, 1)]);
    }

    #[test]
    fn moves_nobody_where_the_numbers_are_even_or_nobody_is_there() {
        assert_eq!(gifts(&[3, 4, 4]), []);
        assert_eq!(gifts(&[9]), []);
        assert_eq!(gifts(&[]), []);
    }

    proptest! {
        #[test]
        fn leaves_at_most_one_more_to_anybody_and_loses_nobody(
            counts in proptest::collection::vec(0_u32..500, 1..20)
        ) {
            let mut after = counts.clone();
            let mut given = 0;
            for (from, to, count) in gifts(&counts) {
                prop_assert!(count > 0 && from != to);
                after[usize::from(from) - 1] -= count;
                after[usize::from(to) - 1] += count;
                given += count;
            }
            let (least, most) = (after.iter().min().unwrap(), after.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{:?}", after);
            prop_assert_eq!(after.iter().sum::<u32>(), counts.iter().sum::<u32>());
            // Nobody gives and gets, so that nobody is moved twice.
            let lost: u32 = counts.iter().zip(&after).map(|(b, a)| b.saturating_sub(*a)).sum();
            prop_assert_eq!(given, lost);
        }
    }
}
