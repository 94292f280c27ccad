// The admin database over JDBC: java -cp postgresql.jar Console.java URL

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

public class Console {
    public static void main(String[] arguments) throws SQLException {
        try (Connection connection = DriverManager.getConnection(arguments[0], "admin", "")) {
            for (int run = 0; run < 10; run++) { // after a few runs it is prepared by name, and rows are binary
                readPools(connection, run == 9);
            }
            readClients(connection);
            pauseAndResume(connection);
            survive(connection);
            readInTransaction(connection);
            System.out.println("valid " + connection.isValid(5));
        }
        System.out.println("done");
    }

    private static final java.util.Map<String, PreparedStatement> PREPARED = new java.util.HashMap<>();

    private static PreparedStatement prepared(Connection connection, String sql) throws SQLException {
        if (!PREPARED.containsKey(sql)) {
            PREPARED.put(sql, connection.prepareStatement(sql));
        }
        return PREPARED.get(sql);
    }

    private static void readPools(Connection connection, boolean print) throws SQLException {
        try (ResultSet rows = prepared(connection, "SHOW POOLS").executeQuery()) {
            while (rows.next()) {
                Object active = rows.getObject("cl_active");
                if (print && rows.getString("database").equals("pgbouncer")) {
                    System.out.println("pools " + active.getClass().getSimpleName() + " " + active);
                }
            }
        }
        try (ResultSet rows = prepared(connection, "SHOW STATS").executeQuery()) {
            while (rows.next()) {
                Object count = rows.getObject("total_query_count");
                if (print && rows.getString("database").equals("pgbouncer")) {
                    System.out.println("stats " + count.getClass().getSimpleName());
                }
            }
        }
    }

    private static void readClients(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("SHOW CLIENTS")) {
            rows.next();
            System.out.println("clients " + rows.getString("type") + " " + (rows.getInt("id") > 0));
        }
    }

    private static void pauseAndResume(Connection connection) throws SQLException {
        try (PreparedStatement pause = connection.prepareStatement("PAUSE ?");
                Statement resume = connection.createStatement()) {
            pause.setString(1, "p0");
            pause.execute();
            System.out.println("paused " + paused(connection));
            resume.execute("RESUME p0");
            System.out.println("paused " + paused(connection));
        }
    }

    private static int paused(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("SHOW DATABASES")) {
            while (rows.next()) {
                if (rows.getString("name").equals("p0")) {
                    return rows.getInt("paused");
                }
            }
        }
        return -1;
    }

    private static void survive(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("NONSENSE");
        } catch (SQLException error) {
            System.out.println("error " + error.getSQLState());
        }
    }

    private static void readInTransaction(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        int count = 0;
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(7); // a portal that is read piece by piece
            try (ResultSet rows = statement.executeQuery("SHOW CONFIG")) {
                while (rows.next()) {
                    count++;
                }
            }
        }
        System.out.println("settings " + (count > 50));
        connection.rollback();
        connection.setAutoCommit(true);
    }
}
