"""`python -m demo`: a real Kafka, a real purchase history, two workers, and one of them is killed.

cdnow      the history        amplify    longer streams made from it
topics     Kafka as a plain client sees it          feed     writes the stream at a pace
workers    worker processes and what they show      answer   the same numbers by polars
scenario   what happens, in order                   screen   what is shown of it
conducting what Airflow does in it                  airflow  a local Airflow
"""
