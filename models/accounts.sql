-- One row per account: what it pays for and what it used in the last 30 days.
select
  a.region,
  a.account_id,
  a.name,
  a.internal,
  a.seats,
  a.settings,
  a.renews_at,
  coalesce(sum(u.amount), 0) as usage
from accounts a
left join usage u on u.account_id = a.account_id and u.used_at > now() - interval '30 days'
group by a.region, a.account_id, a.name, a.internal, a.seats, a.settings, a.renews_at
