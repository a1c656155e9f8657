/** Set to 1 where every program and right has to be there: what is missing is then a failure. */
export const IS_REAL_REQUIRED: boolean = process.env.PULLWARDEN_REQUIRE_REAL === '1';
