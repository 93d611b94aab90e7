-- Says who it is, before and after a file comes.
select current_user;
\setenv AWAITED :awaited
\! while [ ! -e "$AWAITED" ]; do sleep 0.05; done
select current_user || ' goes on';
