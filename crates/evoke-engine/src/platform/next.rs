//! `/v1/next…`: what follows a decorator on its route, and the body it answered with. Answered by whoever made the call; here
//! it is given who asks.

use evoke_core::runtime::PlatformRequest;
use http::StatusCode;

use super::Step;
use super::reply::Problem;
use crate::attempt::Attempt;
use crate::next::Onward;

pub(super) fn go(attempt: &mut Attempt, request: PlatformRequest) -> Result<Step, Problem> {
    let Some(next) = &attempt.next else {
        let detail = format!(
            "nothing follows function {}: this call did not come through a route that names it under decorators",
            attempt.target.name
        );
        return Err(Problem::new(StatusCode::CONFLICT, "nothing_next", detail));
    };
    let onward = Onward {
        cause: attempt.cause_of_children(),
        of: Some(attempt.app.clone()),
        deadline: attempt.deadline,
    };
    let answer = next(request, onward);
    // What follows may have done something that cannot be taken back.
    attempt.called = true;
    Ok(Step::Later(answer))
}
